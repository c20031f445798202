/** Versions and protocol of a handshake, from what the client offers and what its service asks for. Pure. */
import type { ClientHello } from "./client-hello.ts";
import { ACME_TLS } from "./acme-answers.ts";
import { type TlsOptions, type Versions, versionsOf } from "./tls-options.ts";
import { NO_PROTOCOL, type TlsRefusal, VERSION_REFUSED } from "./tls-refusals.ts";

export interface HandshakeChoice {
  readonly versions: Versions;
  /** By ALPN (RFC 7301); null where the client offered none. */
  readonly protocol: string | null;
}

export const HTTP2 = "h2";
export const HTTP1 = "http/1.1";
const WITH_HTTP2 = [HTTP2, HTTP1];
const WITHOUT_HTTP2 = [HTTP1];

/**
 * @param options of the service at this name and port; null where nothing is known of it
 * @param http2 the listener serves HTTP/2
 * @param tunnel the service carries bytes and no requests: it speaks what its options say, or who knows what
 */
export function chooseHandshake(
  hello: ClientHello,
  options: TlsOptions | null,
  http2: boolean,
  tunnel = false,
): HandshakeChoice | TlsRefusal {
  const versions = versionsOf(options);
  const common = (hello.tls12 && versions !== "1.3-1.3") || (hello.tls13 && versions !== "1.2-1.2");
  if (!common) return VERSION_REFUSED;
  if (hello.protocols === null || (tunnel && options?.alpn === undefined)) {
    return { versions, protocol: null };
  }
  // Our preference counts (RFC 7301 section 3.2), and no common protocol is an error and not a guess.
  for (const protocol of options?.alpn ?? (http2 ? WITH_HTTP2 : WITHOUT_HTTP2)) {
    if (protocol === HTTP2 && !http2 && !tunnel) continue;
    if (hello.protocols.includes(protocol)) return { versions, protocol };
  }
  return NO_PROTOCOL;
}

/** RFC 8737 section 3: a validation offers this protocol and no other. */
export function isAcmeValidation({ protocols }: ClientHello): boolean {
  return protocols !== null && protocols.length === 1 && protocols[0] === ACME_TLS;
}
