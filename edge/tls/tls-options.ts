/** What every handshake of the edge has in common. The reference offers the same versions and suites (section 1.7). */
import { createSecureContext, type SecureContext } from "node:tls";
import type { ServicePort } from "../../control/contract/machine.ts";

export type TlsOptions = NonNullable<ServicePort["tls_options"]>;

/** Ephemeral keys and authenticated encryption alone; those of TLS 1.3 are all of that kind and not for choosing. */
const SUITES_OF_TLS12 = [
  "ECDHE-ECDSA-AES128-GCM-SHA256",
  "ECDHE-RSA-AES128-GCM-SHA256",
  "ECDHE-ECDSA-AES256-GCM-SHA384",
  "ECDHE-RSA-AES256-GCM-SHA384",
  "ECDHE-ECDSA-CHACHA20-POLY1305",
  "ECDHE-RSA-CHACHA20-POLY1305",
].join(":");

/** Lowest and highest: all that a service can choose from. */
export type Versions = "1.2-1.3" | "1.2-1.2" | "1.3-1.3";

export function versionsOf(options: TlsOptions | null): Versions {
  const versions = options?.versions;
  if (versions === undefined) return "1.2-1.3";
  if (!versions.includes("TLSv1.3")) return "1.2-1.2";
  return versions.includes("TLSv1.2") ? "1.2-1.3" : "1.3-1.3";
}

/** @throws where the key does not fit the certificate, or one of them cannot be read */
export function makeContext(chain: string, key: string, versions: Versions): SecureContext {
  return createSecureContext({
    cert: chain,
    key,
    ciphers: SUITES_OF_TLS12,
    minVersion: versions === "1.3-1.3" ? "TLSv1.3" : "TLSv1.2",
    maxVersion: versions === "1.2-1.2" ? "TLSv1.2" : "TLSv1.3",
  });
}
