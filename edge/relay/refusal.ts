/**
 * Why a request gets an answer that no machine gave. Constants and not thrown errors: refusing must stay cheap when
 * somebody sends a million of them. `family` is the reference's error family (section 1.8).
 */
export interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly family: string;
  readonly message: string;
  /** What to do next, for whoever reads the page. */
  readonly hint: string;
  readonly retryAfterS: number | null;
}

export function refusal(
  status: number,
  code: string,
  family: string,
  message: string,
  hint: string,
  retryAfterS: number | null = null,
): Refusal {
  return { status, code, family, message, hint, retryAfterS };
}

const clientHint = "This is for the author of the HTTP client: RFC 9112 has the rule.";
const bad = (what: string) => refusal(400, "edge.bad_request", "PE01", what, clientHint);

/** What the parser refuses. One code; the message names the rule. */
export const BAD_LINE_END = bad("A line of the request's head does not end with CR LF.");
export const BAD_REQUEST_LINE = bad("The request line is not METHOD SP TARGET SP VERSION.");
export const BAD_TARGET = bad("The request target is not valid.");
export const BAD_FIELD = bad("A header line is not NAME:VALUE, is folded, or holds a forbidden byte.");
export const BAD_HOST = bad("The Host header is missing, repeated, invalid, or differs from the target.");
export const BAD_LENGTH = bad("The Content-Length header is repeated or not a number.");
export const LENGTH_AND_CHUNKED = bad("The request has Content-Length and Transfer-Encoding.");
export const BAD_TRANSFER_ENCODING = bad(
  "The Transfer-Encoding header is repeated, or its HTTP version has none.",
);
export const BAD_CHUNK = bad("A chunk of the request's body is not valid.");
export const AMBIGUOUS_NAME = bad("A header's name differs from a framing header's by underscores alone.");
export const BODY_NOT_ALLOWED = bad("A TRACE request has no body.");

export const UNKNOWN_CODING = refusal(
  501,
  "edge.unknown_transfer_coding",
  "PE02",
  "The request's transfer coding is not known here.",
  "Send the body with Content-Length or with `Transfer-Encoding: chunked`.",
);
export const METHOD_REFUSED = refusal(
  405,
  "edge.method_refused",
  "PE03",
  "CONNECT is not served here.",
  "Send the request to a forward proxy.",
);
export const VERSION_REFUSED = refusal(
  505,
  "edge.version_refused",
  "PE04",
  "The HTTP version is not served here.",
  "Use HTTP/1.1.",
);
export const EXPECTATION_FAILED = refusal(
  417,
  "edge.expectation_failed",
  "PE05",
  "The expectation in the Expect header is not known.",
  "Send `Expect: 100-continue` or no Expect header.",
);
export const TARGET_TOO_LONG = refusal(
  414,
  "edge.target_too_long",
  "PL03",
  "The request line is longer than 8,192 bytes.",
  "Move parameters from the URL into the body.",
);
export const HEAD_TOO_LARGE = refusal(
  431,
  "edge.head_too_large",
  "PL04",
  "The request's headers are more than 64 KiB, more than 128, or one is longer than 16 KiB.",
  "Clear this site's cookies, or send fewer headers.",
);
export const BODY_TOO_LARGE = refusal(
  413,
  "edge.body_too_large",
  "PL05",
  "The request's body is larger than allowed here.",
  "Send it in parts.",
);
export const REQUEST_TIMEOUT = refusal(
  408,
  "edge.request_timeout",
  "PC05",
  "The request did not arrive in time.",
  "Send it again over a better connection.",
);
export const TOO_MANY_CONNECTIONS = refusal(
  503,
  "edge.too_many_connections",
  "PL01",
  "This edge has as many connections as it can hold.",
  "Try again in a moment.",
  1,
);
