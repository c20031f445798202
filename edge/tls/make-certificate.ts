/**
 * Certificates that the edge signs itself: the default one, and the answers of tls-alpn-01. node:crypto reads X.509 and
 * does not write it, so the few forms that are needed are written here in DER (ITU-T X.690), with a key on P-256.
 * A library for it (@peculiar/x509) was tried: it wants a polyfill of a global and brings a dozen packages into the relay.
 */
import { generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";

export interface CertificateOptions {
  /** Subject alternative names (DNS). The first is the common name too. */
  readonly names: readonly string[];
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** SHA-256 of a key authorization: makes it an answer of tls-alpn-01 (RFC 8737 section 3). */
  readonly acmeIdentifier?: Uint8Array;
}

export interface MadeCertificate {
  /** PEM. */
  readonly chain: string;
  /** PEM, PKCS #8. */
  readonly key: string;
}

const COMMON_NAME_BYTES_MAX = 64;

const BOOLEAN = 0x01;
const INTEGER = 0x02;
const BIT_STRING = 0x03;
const OCTET_STRING = 0x04;
const OBJECT_IDENTIFIER = 0x06;
const UTF8_STRING = 0x0c;
const UTC_TIME = 0x17;
const GENERALIZED_TIME = 0x18;
const SEQUENCE = 0x30;
const SET = 0x31;
const CONTEXT_0 = 0xa0;
const CONTEXT_3 = 0xa3;
const DNS_NAME = 0x82;

const ECDSA_WITH_SHA256 = "2a8648ce3d040302";
const COMMON_NAME = "550403";
const SUBJECT_ALT_NAME = "551d11";
const BASIC_CONSTRAINTS = "551d13";
const ACME_IDENTIFIER = "2b0601050507011f";

export function makeCertificate(options: CertificateOptions): MadeCertificate {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const algorithm = der(SEQUENCE, oid(ECDSA_WITH_SHA256));
  const name = subject(options.names[0]!);
  const toBeSigned = der(
    SEQUENCE,
    der(CONTEXT_0, der(INTEGER, Buffer.from([2]))), // version 3
    der(INTEGER, serialNumber()),
    algorithm,
    name,
    der(SEQUENCE, time(options.notBeforeMs), time(options.notAfterMs)),
    name,
    publicKey.export({ type: "spki", format: "der" }),
    der(CONTEXT_3, der(SEQUENCE, ...extensions(options))),
  );
  const certificate = der(SEQUENCE, toBeSigned, algorithm, bitString(signature(toBeSigned, privateKey)));
  return { chain: pem("CERTIFICATE", certificate), key: pem("PRIVATE KEY", pkcs8(privateKey)) };
}

function extensions({ names, acmeIdentifier }: CertificateOptions): Buffer[] {
  const altNames = der(SEQUENCE, ...names.map((name) => der(DNS_NAME, Buffer.from(name, "latin1"))));
  const list = [
    extension(BASIC_CONSTRAINTS, true, der(SEQUENCE)), // no authority
    extension(SUBJECT_ALT_NAME, false, altNames),
  ];
  if (acmeIdentifier !== undefined) {
    list.push(extension(ACME_IDENTIFIER, true, der(OCTET_STRING, Buffer.from(acmeIdentifier))));
  }
  return list;
}

function extension(id: string, critical: boolean, value: Buffer): Buffer {
  const flag = critical ? [der(BOOLEAN, Buffer.from([0xff]))] : [];
  return der(SEQUENCE, oid(id), ...flag, der(OCTET_STRING, value));
}

function subject(name: string): Buffer {
  const common = der(UTF8_STRING, Buffer.from(name.slice(0, COMMON_NAME_BYTES_MAX)));
  return der(SEQUENCE, der(SET, der(SEQUENCE, oid(COMMON_NAME), common)));
}

/** RFC 5280 section 4.1.2.5: two digits of a year until 2049. */
function time(ms: number): Buffer {
  const digits = new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, "");
  return Number(digits.slice(0, 4)) < 2_050
    ? der(UTC_TIME, Buffer.from(digits.slice(2)))
    : der(GENERALIZED_TIME, Buffer.from(digits));
}

/** Positive, without leading zeroes (RFC 5280 section 4.1.2.2). */
function serialNumber(): Buffer {
  const bytes = randomBytes(16);
  bytes[0] = (bytes[0]! & 0x7f) | 0x40;
  return bytes;
}

function signature(bytes: Buffer, key: KeyObject): Buffer {
  return sign("sha256", bytes, key);
}

function pkcs8(key: KeyObject): Buffer {
  return key.export({ type: "pkcs8", format: "der" });
}

function bitString(bytes: Buffer): Buffer {
  return der(BIT_STRING, Buffer.from([0]), bytes);
}

function oid(hex: string): Buffer {
  return der(OBJECT_IDENTIFIER, Buffer.from(hex, "hex"));
}

function der(tag: number, ...parts: Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const { length } = body;
  if (length < 0x80) return Buffer.concat([Buffer.from([tag, length]), body]);
  const size = length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), body]);
}

function pem(label: string, bytes: Buffer): string {
  const lines = bytes.toString("base64").match(/.{1,64}/g)!.join("\n");
  return `-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`;
}
