/**
 * Reads a ClientHello before TLS itself does (RFC 8446 section 4.1.2, RFC 5246 section 7.4.1.2): the name, the protocols
 * and the versions decide certificate, limits and refusals while a connection has cost nothing yet. TLS libraries tell
 * the name in a callback, too late to choose a version by it, and on Bun too late to choose a certificate by ALPN.
 * It is read as a whole from the bytes that came so far; a hello comes in one or two segments.
 */
import { isIP } from "node:net";
import { hostName } from "../relay/host-name.ts";

export interface ClientHello {
  /** Lower case, without trailing dot; null where the client sent none. */
  readonly serverName: string | null;
  /** ALPN names in the client's order (RFC 7301), a byte a character; null where the client sent none. */
  readonly protocols: readonly string[] | null;
  readonly tls12: boolean;
  readonly tls13: boolean;
}

export const HELLO_INCOMPLETE = "incomplete";
/** Not the beginning of a TLS record with a ClientHello. */
export const HELLO_NONE = "none";
/** A ClientHello that breaks its own rules. */
export const HELLO_MALFORMED = "malformed";
export type HelloFault = typeof HELLO_INCOMPLETE | typeof HELLO_NONE | typeof HELLO_MALFORMED;

/** Record headers included. Those of browsers have 600 to 2,000 bytes, post-quantum key shares included. */
export const HELLO_BYTES_MAX = 16_384;

/** Records that one ClientHello may be spread over; each costs a copy with every segment that comes. */
const RECORDS_MAX = 8;

const RECORD_HANDSHAKE = 22;
const RECORD_BYTES_MAX = 16_384;
const CLIENT_HELLO = 1;
const SERVER_NAME = 0;
const ALPN = 16;
const SUPPORTED_VERSIONS = 43;
const TLS12 = 0x0303;
const TLS13 = 0x0304;

/** @param bytes all that the client has sent */
export function readClientHello(bytes: Buffer): ClientHello | HelloFault {
  const message = handshakeMessage(bytes);
  if (typeof message === "string") return message;
  try {
    return parse(new Reader(message, 0, message.length));
  } catch (error) {
    if (error === MALFORMED) return HELLO_MALFORMED;
    throw error;
  }
}

/** The first handshake message, without its header, put together from as many records as it takes. */
function handshakeMessage(bytes: Buffer): Buffer | HelloFault {
  let message: Buffer | null = null;
  let at = 0;
  for (let records = 0; records < RECORDS_MAX; records++) {
    if (at >= bytes.length) return HELLO_INCOMPLETE;
    if (bytes[at] !== RECORD_HANDSHAKE) return HELLO_NONE;
    if (at + 1 < bytes.length && bytes[at + 1] !== 3) return HELLO_NONE;
    if (at + 5 > bytes.length) return HELLO_INCOMPLETE;
    const length = bytes.readUInt16BE(at + 3);
    if (length === 0 || length > RECORD_BYTES_MAX) return HELLO_NONE;
    const end = Math.min(bytes.length, at + 5 + length);
    const piece = bytes.subarray(at + 5, end);
    message = message === null ? piece : Buffer.concat([message, piece]);
    if (message.length > 0 && message[0] !== CLIENT_HELLO) return HELLO_NONE;
    if (message.length >= 4) {
      const size = message.readUIntBE(1, 3);
      if (size > HELLO_BYTES_MAX) return HELLO_MALFORMED;
      if (message.length >= 4 + size) return message.subarray(4, 4 + size);
    }
    at += 5 + length;
  }
  return HELLO_MALFORMED;
}

const MALFORMED = Symbol("malformed");

/** A cursor over length-prefixed vectors (RFC 8446 section 3.4); throws MALFORMED past an end. */
class Reader {
  readonly #bytes: Buffer;
  #at: number;
  readonly end: number;

  constructor(bytes: Buffer, at: number, end: number) {
    this.#bytes = bytes;
    this.#at = at;
    this.end = end;
  }
  get done(): boolean {
    return this.#at >= this.end;
  }
  number(size: 1 | 2): number {
    const at = this.#skip(size);
    return size === 1 ? this.#bytes[at]! : this.#bytes.readUInt16BE(at);
  }
  skip(count: number): void {
    this.#skip(count);
  }
  vector(sizeOfLength: 1 | 2): Reader {
    const length = this.number(sizeOfLength);
    const at = this.#skip(length);
    return new Reader(this.#bytes, at, at + length);
  }
  text(sizeOfLength: 1 | 2): string {
    const length = this.number(sizeOfLength);
    const at = this.#skip(length);
    return this.#bytes.toString("latin1", at, at + length);
  }
  #skip(count: number): number {
    const at = this.#at;
    if (at + count > this.end) throw MALFORMED;
    this.#at = at + count;
    return at;
  }
}

function parse(hello: Reader): ClientHello {
  const legacyVersion = hello.number(2);
  hello.skip(32);
  hello.vector(1); // session id
  if (hello.vector(2).done) throw MALFORMED; // cipher suites
  if (hello.vector(1).done) throw MALFORMED; // compression methods
  let serverName: string | null = null;
  let protocols: string[] | null = null;
  let tls12 = legacyVersion >= TLS12;
  let tls13 = false;
  const seen = new Set<number>();
  const extensions = hello.done ? null : hello.vector(2);
  while (extensions !== null && !extensions.done) {
    const type = extensions.number(2);
    const body = extensions.vector(2);
    // RFC 8446 section 4.2: two readers could take two different names.
    if (seen.has(type)) throw MALFORMED;
    seen.add(type);
    if (type === SERVER_NAME) serverName = nameOf(body);
    else if (type === ALPN) protocols = protocolsOf(body);
    else if (type === SUPPORTED_VERSIONS) {
      tls12 = tls13 = false;
      for (const versions = body.vector(1); !versions.done;) {
        const version = versions.number(2);
        if (version === TLS12) tls12 = true;
        else if (version === TLS13) tls13 = true;
      }
    }
  }
  if (!hello.done) throw MALFORMED;
  return { serverName, protocols, tls12, tls13 };
}

/**
 * RFC 6066 section 3: exactly one host name, no address. Some clients send the address of their URL even so, and mean
 * nothing by it: that is no name.
 */
function nameOf(body: Reader): string | null {
  const list = body.vector(2);
  if (list.number(1) !== 0) throw MALFORMED;
  const text = list.text(2);
  if (!list.done || !body.done) throw MALFORMED;
  if (isIP(text) !== 0) return null;
  const name = text.includes(":") ? null : hostName(text);
  if (name === null || name.length > 253 || isNumeric(name)) throw MALFORMED;
  return name;
}

/** Two readers could take it for an address. */
function isNumeric(name: string): boolean {
  const last = name.charCodeAt(name.length - 1);
  return name.startsWith("[") || (last >= 0x30 && last <= 0x39 && /^[0-9.]+$/.test(name));
}

function protocolsOf(body: Reader): string[] {
  const protocols: string[] = [];
  for (const list = body.vector(2); !list.done;) {
    const protocol = list.text(1);
    if (protocol === "") throw MALFORMED;
    protocols.push(protocol);
  }
  if (protocols.length === 0 || !body.done) throw MALFORMED;
  return protocols;
}
