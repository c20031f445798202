/** Why a connection never gets past its handshake. Each has its line in the edge's README; families as the reference's. */
import {
  DECODE_ERROR,
  HANDSHAKE_FAILURE,
  INTERNAL_ERROR,
  NO_APPLICATION_PROTOCOL,
  PROTOCOL_VERSION,
  UNEXPECTED_MESSAGE,
  UNRECOGNIZED_NAME,
} from "./alert.ts";

export interface TlsRefusal {
  readonly code: string;
  readonly family: string;
  /** What the client is told (RFC 8446 section 6.2); null where it is told nothing, or in its own words. */
  readonly alert: number | null;
}

const tlsRefusal = (family: string, code: string, alert: number | null): TlsRefusal => ({
  code,
  family,
  alert,
});

export const RANGE_LIMITED = tlsRefusal("PT01", "edge.tls_range_limited", HANDSHAKE_FAILURE);
export const NAME_LIMITED = tlsRefusal("PT02", "edge.tls_name_limited", HANDSHAKE_FAILURE);
export const TOO_MANY_HANDSHAKES = tlsRefusal("PT03", "edge.tls_too_many_handshakes", null);
export const HANDSHAKE_TIMEOUT = tlsRefusal("PT04", "edge.tls_timeout", null);
export const NOT_TLS = tlsRefusal("PT05", "edge.tls_not_spoken", UNEXPECTED_MESSAGE);
/** Answered with 400 in plain text, which is what the client speaks. */
export const PLAIN_HTTP = tlsRefusal("PT05", "edge.tls_not_spoken", null);
export const BAD_HELLO = tlsRefusal("PT05", "edge.tls_bad_hello", DECODE_ERROR);
export const VERSION_REFUSED = tlsRefusal("PT06", "edge.tls_version_refused", PROTOCOL_VERSION);
export const NO_PROTOCOL = tlsRefusal("PT07", "edge.tls_no_protocol", NO_APPLICATION_PROTOCOL);
export const NO_CERTIFICATE = tlsRefusal("PT08", "edge.tls_no_certificate", UNRECOGNIZED_NAME);
/** The client broke it off, or spoke TLS wrongly. */
export const HANDSHAKE_FAILED = tlsRefusal("PT09", "edge.tls_failed", null);
export const HANDSHAKE_FAULT = tlsRefusal("PT09", "edge.tls_failed", INTERNAL_ERROR);
