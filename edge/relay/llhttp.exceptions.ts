/** Where this codec says something else than llhttp, and why. `llhttp.test.ts` fails when an entry no longer differs. */

/** How the two differ, and the reason. */
export type LlhttpException = readonly [differs: string, reason: string];

const fragment: LlhttpException = [
  "refused",
  "A target has no fragment (RFC 9112 section 3.2); readers differ in whether `#` ends the path.",
];
const userInformation: LlhttpException = [
  "refused",
  "User information in an authority is deprecated (RFC 9110 section 4.2.4), and readers differ in which `@` ends it.",
];
const zone: LlhttpException = [
  "refused",
  "A zone means something on the sender's host alone (RFC 6874 section 1).",
];
const notHttp: LlhttpException = ["refused", "Not HTTP."];
const connect: LlhttpException = [
  "refused",
  "CONNECT asks for a forward proxy; this is a reverse one (405).",
];
const subDelimiter: LlhttpException = [
  "refused",
  "`0.0.0.0=5000` is a host name to RFC 3986 and none to DNS; no row could hold it.",
];
const coding: LlhttpException = [
  "refused",
  "Any transfer coding but `chunked` alone: RFC 9112 section 6.1 allows 501 for a request, and a machine's response " +
  "whose framing readers disagree on is a bad response.",
];
const anyMethod =
  "Methods are an open set (RFC 9110 section 9.1), which the machine knows and the edge need not.";
const afterLast =
  "Nothing is wrong with this message; the leniency is about the bytes behind it, which are not read here.";

export const llhttpExceptions: Record<string, LlhttpException> = {
  "request/connection: `keep-alive` / Resetting flags when keep-alive is off (1.0, lenient)": [
    "accepted without leniency",
    afterLast,
  ],
  "request/connection: CRLF between requests, explicit `close` (lenient)": [
    "accepted without leniency",
    afterLast,
  ],
  "response/connection: HTTP/1.1 with keep-alive disabled, content-length (lenient)": [
    "accepted without leniency",
    afterLast,
  ],
  "response/connection: HTTP/1.1 with keep-alive disabled and 204 status (lenient)": [
    "accepted without leniency",
    afterLast,
  ],
  "request/connection: `keep-alive` / CRLF between requests, implicit `keep-alive`": [
    "refused",
    "One empty line before a request line is ignored, as RFC 9112 section 2.2 asks; here are two.",
  ],
  "request/content-length: Content-Length reset when no body is received": [
    "1 messages, and not 2",
    "The case tells llhttp that requests have no bodies, which is a way to call it and not a way to read HTTP.",
  ],
  "request/invalid: HTTP protocol and ANNOUNCE method": ["accepted", anyMethod],
  "request/invalid: Invalid method": ["1 messages, and not 0", anyMethod],
  "request/method: CONNECT request": connect,
  "request/method: CONNECT request with CAPS": connect,
  "request/method: CONNECT with body": connect,
  "request/uri: Underscore in hostname": connect,
  "request/method: M-SEARCH request": [
    "refused",
    "`*` is a target of OPTIONS alone (RFC 9112 section 3.2.4); M-SEARCH is SSDP over UDP.",
  ],
  "request/method: PRI request HTTP2": [
    "refused",
    "`PRI *` is no request of HTTP/1.1; HTTP/2 without TLS is not spoken here.",
  ],
  "request/method: SOURCE request with ICE": notHttp,
  "request/method: OPTIONS request with RTSP": notHttp,
  "request/method: ANNOUNCE request with RTSP": notHttp,
  "response/sample: RTSP response": notHttp,
  "response/sample: ICE response": notHttp,
  "request/sample: curl GET": subDelimiter,
  "request/sample: Firefox GET": subDelimiter,
  "request/sample: No HTTP version": [
    "refused",
    "HTTP/0.9 has no headers, and so no host to route by.",
  ],
  "response/sample: HTTP version 0.9": [
    "refused",
    "A response of HTTP/0.9 has no status line; this one is a mixture.",
  ],
  "request/transfer-encoding: `chunked` / Trailing headers": [
    "refused",
    "Content-Type may not come in a trailer (RFC 9110 section 6.5.1); a machine that merges trailers would believe it.",
  ],
  "request/transfer-encoding: `chunked` / Chunk extensions quoting": [
    "refused",
    "Readers differ in whether a backslash in a quoted chunk extension escapes what follows; the one for responses has none.",
  ],
  "request/transfer-encoding: POST with `chunked` as last transfer-encoding": coding,
  "request/transfer-encoding: POST with `chunked` as last transfer-encoding (multiple headers)": coding,
  "response/transfer-encoding: `chunked` before other transfer-encoding": coding,
  "response/transfer-encoding: multiple transfer-encoding where chunked is not the last one": coding,
  "response/transfer-encoding: `chunkedchunked` transfer-encoding does not enable chunked enconding": coding,
  "request/uri: Fragment in URI": fragment,
  "url: URL tests / Absolute URL": fragment,
  "url: URL tests / Relative URL": fragment,
  "url: URL tests / URL fragment": fragment,
  "url: URL tests / Complex URL fragment": fragment,
  "url: URL tests / Complex URL from node.js url parser doc": fragment,
  "request/uri: `host:port` and basic auth": userInformation,
  "url: URL tests / Complex URL with basic auth from node.js url parser doc": userInformation,
  "url: URL tests / Proxy basic auth with url encoded space": userInformation,
  "url: URL tests / Proxy basic auth with unreserved chars": userInformation,
  "url: URL tests / IPv6 address with Zone ID": zone,
  "url: URL tests / IPv6 address with Zone ID, but `%` is not percent-encoded": zone,
};
