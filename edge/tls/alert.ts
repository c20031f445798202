/** Refusals before TLS has begun: an alert needs no key, so saying no costs seven bytes (RFC 8446 section 6). */

export const HANDSHAKE_FAILURE = 40;
export const DECODE_ERROR = 50;
export const PROTOCOL_VERSION = 70;
export const INTERNAL_ERROR = 80;
export const UNRECOGNIZED_NAME = 112;
export const NO_APPLICATION_PROTOCOL = 120;
export const UNEXPECTED_MESSAGE = 10;

const RECORD_ALERT = 21;
const FATAL = 2;

export function alertRecord(description: number): Buffer {
  return Buffer.from([RECORD_ALERT, 3, 3, 0, 2, FATAL, description]);
}
