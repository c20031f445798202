import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { HeadScanner, NEED_MORE, REFUSED } from "./head-scanner.ts";
import { LIMITS } from "./limits.ts";
import type { Refusal } from "./refusal.ts";
import { parseRequestHead, RequestHead } from "./request-head.ts";

/** Scans and parses what comes in these pieces; `end` counts the head's bytes. */
function read(pieces: Buffer[]): { result: RequestHead | Refusal | null; end: number } {
  const scanner = new HeadScanner(LIMITS);
  let before = 0;
  for (const piece of pieces) {
    const end = scanner.feed(piece, 0);
    if (end === REFUSED) return { result: scanner.refusal, end: 0 };
    if (end !== NEED_MORE) return { result: parseRequestHead(scanner.text, LIMITS), end: before + end };
    before += piece.length;
  }
  return { result: null, end: 0 };
}
const bytes = (text: string) => Buffer.from(text, "latin1");
const readText = (text: string) => read([bytes(text)]).result;
function head(text: string): RequestHead {
  const result = readText(text);
  if (!(result instanceof RequestHead)) throw new Error(`refused: ${result?.message ?? "incomplete"}`);
  return result;
}
function status(text: string): number | null {
  const result = readText(text);
  return result === null ? null : result instanceof RequestHead ? 200 : result.status;
}
const get = (fields: string) => `GET / HTTP/1.1\r\nHost: a.test\r\n${fields}\r\n`;

describe("request head", () => {
  test("keeps order and case of what goes on", () => {
    const { fields } = head(get("X-B: 1\r\nx-a:2\r\nAccept:  */* \r\n"));
    expect(fields).toBe("Host: a.test\r\nX-B: 1\r\nx-a:2\r\nAccept:  */* \r\n");
  });
  test("removes hop-by-hop, Connection-listed and spoofable fields", () => {
    const { fields } = head(get(
      "Connection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nFly-Client-IP: 1.2.3.4\r\n" +
        "X_Forwarded_Proto: https\r\nX-Stays: 1\r\n",
    ));
    expect(fields).toBe("Host: a.test\r\nX-Stays: 1\r\n");
  });
  test("a Connection field cannot remove framing and routing fields", () => {
    const parsed = head(
      "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\nConnection: content-length, host\r\n\r\n",
    );
    expect(parsed.fields).toBe("Host: a.test\r\nContent-Length: 3\r\n");
  });
  test("normalises the host for look-ups", () => {
    expect(head("GET / HTTP/1.1\r\nHost: WWW.Example.COM.:8080\r\n\r\n").host).toBe("www.example.com");
    expect(head("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n").host).toBe("[::1]");
  });
  test("reads absolute-form and asterisk-form targets", () => {
    const absolute = head("GET http://a.test?q=1 HTTP/1.1\r\nHost: a.test\r\nX: 1\r\n\r\n");
    expect(absolute.target).toBe("/?q=1");
    expect(absolute.fields).toBe("Host: a.test\r\nX: 1\r\n");
    expect(head("OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n").target).toBe("*");
  });
  test("an absolute target gives the machine one Host, whatever case and port the two came with", () => {
    const fields = (target: string, host: string) =>
      head(`GET ${target} HTTP/1.1\r\nX: 1\r\nHost: ${host}\r\n\r\n`).fields;
    expect(fields("http://A.Test/", "a.test")).toBe("Host: a.test\r\nX: 1\r\n");
    expect(fields("http://a.test/", "A.TEST.:80")).toBe("Host: a.test\r\nX: 1\r\n");
    expect(fields("HTTPS://a.test:0443/", "a.test")).toBe("Host: a.test\r\nX: 1\r\n");
    expect(fields("http://[::A]:81/", "[::a]:81")).toBe("Host: [::a]:81\r\nX: 1\r\n");
  });
  test("lines that frame and route are written anew where a byte-wise reader would not know them", () => {
    const fields = (lines: string) => head(`POST / HTTP/1.1\r\n${lines}\r\n`).fields;
    expect(fields("X: 1\r\nhost:\tA.test \r\nY: 2\r\n")).toBe("X: 1\r\nHost: A.test\r\nY: 2\r\n");
    expect(fields("Host: a\r\ncontent-length:  5\r\nY: 2\r\n")).toBe(
      "Host: a\r\nContent-Length: 5\r\nY: 2\r\n",
    );
    expect(fields("Host: a\r\nContent-Length: 010\r\n")).toBe("Host: a\r\nContent-Length: 10\r\n");
    expect(fields("Host: a\r\nContent-Length:5\r\n")).toBe("Host: a\r\nContent-Length: 5\r\n");
    expect(fields("Host: a\r\nTransfer-encoding: Chunked\r\n")).toBe(
      "Host: a\r\nTransfer-Encoding: chunked\r\n",
    );
    expect(fields("Host: a\r\nTransfer-Encoding:\tchunked\t\r\n")).toBe(
      "Host: a\r\nTransfer-Encoding: chunked\r\n",
    );
    const asItCame = "host: a\r\ncontent-length: 5\r\n";
    expect(fields(asItCame)).toBe(asItCame);
  });
  test("Expect goes on with a body alone", () => {
    const expecting = (more: string, version = "1.1") =>
      head(`POST / HTTP/${version}\r\nHost: a\r\nExpect: 100-Continue\r\n${more}\r\n`);
    expect(expecting("Content-Length: 1\r\n").fields).toContain("Expect:");
    expect(expecting("Content-Length: 1\r\n").expectsContinue).toBe(true);
    for (
      const without of [
        expecting(""),
        expecting("Content-Length: 0\r\n"),
        expecting("Content-Length: 1\r\n", "1.0"),
      ]
    ) {
      expect(without.fields).not.toContain("Expect");
      expect(without.expectsContinue).toBe(false);
    }
  });
  test("Proxy, which CGI would take for HTTP_PROXY, does not go on", () => {
    expect(head(get("Proxy: http://evil.test\r\n")).fields).toBe("Host: a.test\r\n");
  });
  test("a name with underscores does not speak for the one with hyphens", () => {
    const parsed = head(get("X_Forwarded_For: 6.6.6.6\r\nX_Forwarded_Port: 6\r\n"));
    expect(parsed.forwardedFor).toBeNull();
    expect(parsed.forwardedPort).toBeNull();
    expect(parsed.fields).toBe("Host: a.test\r\n");
  });
  test("HTTP/1.0 keeps a connection only where asked", () => {
    expect(head("GET / HTTP/1.0\r\nHost: a.test\r\n\r\n").keepAlive).toBe(false);
    expect(head("GET / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n").keepAlive).toBe(true);
    expect(head(get("Connection: close\r\n")).keepAlive).toBe(false);
  });
  test("an offer of HTTP/2 is no upgrade", () => {
    for (const protocol of ["h2", "H2C", "websocket, h2c", "HTTP/2.0"]) {
      expect(head(get(`Connection: Upgrade\r\nUpgrade: ${protocol}\r\n`)).upgrade).toBe(null);
    }
  });
  test("an upgrade is offered by both fields, without a body", () => {
    expect(head(get("Connection: Upgrade\r\nUpgrade: websocket\r\n")).upgrade).toBe("websocket");
    expect(head(get("Connection: Upgrade\r\nContent-Length: 1\r\nUpgrade: websocket\r\n")).upgrade).toBe(
      null,
    );
    expect(head(get("Upgrade: websocket\r\n")).upgrade).toBe(null);
  });

  const refused: [name: string, text: string, status: number][] = [
    [
      "Content-Length with Transfer-Encoding",
      get("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"),
      400,
    ],
    ["two Content-Lengths", get("Content-Length: 1\r\nContent-Length: 1\r\n"), 400],
    ["a list of Content-Lengths", get("Content-Length: 1, 1\r\n"), 400],
    ["a signed Content-Length", get("Content-Length: +1\r\n"), 400],
    ["an empty Content-Length", get("Content-Length:\r\n"), 400],
    ["a hexadecimal Content-Length", get("Content-Length: 0x1\r\n"), 400],
    ["a Content-Length beyond numbers", get("Content-Length: 9999999999999999999\r\n"), 400],
    ["Content_Length", get("Content_Length: 1\r\n"), 400],
    ["Transfer-Encoding twice", get("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400],
    ["an unknown coding", get("Transfer-Encoding: gzip, chunked\r\n"), 501],
    ["identity", get("Transfer-Encoding: identity\r\n"), 501],
    ["xchunked", get("Transfer-Encoding: xchunked\r\n"), 501],
    ["vertical tab before chunked", get("Transfer-Encoding: \x0bchunked\r\n"), 400],
    ["chunked in HTTP/1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 400],
    ["a bare LF after a field", "GET / HTTP/1.1\r\nHost: a.test\n\r\n", 400],
    ["a bare LF after the request line", "GET / HTTP/1.1\nHost: a.test\r\n\r\n", 400],
    ["a bare CR in a value", get("X: a\rb\r\n"), 400],
    ["NUL in a value", get("X: a\0b\r\n"), 400],
    ["DEL in a value", get("X: a\x7fb\r\n"), 400],
    ["obs-fold", get("X: a\r\n b\r\n"), 400],
    ["obs-fold of the first field", "GET / HTTP/1.1\r\n X: a\r\nHost: a\r\n\r\n", 400],
    ["space before the colon", get("X : a\r\n"), 400],
    ["tab before the colon", get("Content-Length\t: 1\r\n"), 400],
    ["an empty name", get(": a\r\n"), 400],
    ["a line without colon", get("nonsense\r\n"), 400],
    ["a name with brackets", get("X[]: a\r\n"), 400],
    ["no Host", "GET / HTTP/1.1\r\nX: 1\r\n\r\n", 400],
    ["two Hosts", get("Host: a.test\r\n"), 400],
    ["an empty Host", "GET / HTTP/1.1\r\nHost: \r\n\r\n", 400],
    ["a Host with user information", "GET / HTTP/1.1\r\nHost: u@a.test\r\n\r\n", 400],
    ["a Host with a path", "GET / HTTP/1.1\r\nHost: a.test/x\r\n\r\n", 400],
    ["a Host with a list", "GET / HTTP/1.1\r\nHost: a.test, b.test\r\n\r\n", 400],
    ["a Host with a bad port", "GET / HTTP/1.1\r\nHost: a.test:99999\r\n\r\n", 400],
    ["an absolute target of another host", "GET http://b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 400],
    ["an absolute target of another port", "GET http://a.test:81/ HTTP/1.1\r\nHost: a.test:82\r\n\r\n", 400],
    [
      "an absolute target of a port that Host lacks",
      "GET http://a.test:81/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
      400,
    ],
    ["an absolute target without host", "GET http:///x HTTP/1.1\r\nHost: a.test\r\n\r\n", 400],
    [
      "an absolute target with user information",
      "GET http://u@a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
      400,
    ],
    ["an absolute target of another scheme", "GET ftp://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 400],
    ["an expectation said twice", get("Expect: 100-continue\r\nExpect: 100-continue\r\n"), 417],
    ["a relative target", "GET x HTTP/1.1\r\nHost: a.test\r\n\r\n", 400],
    ["a fragment", "GET /#x HTTP/1.1\r\nHost: a.test\r\n\r\n", 400],
    ["a target with obs-text", "GET /\xe9 HTTP/1.1\r\nHost: a.test\r\n\r\n", 400],
    ["an asterisk with GET", "GET * HTTP/1.1\r\nHost: a.test\r\n\r\n", 400],
    ["two spaces after the method", "GET  / HTTP/1.1\r\nHost: a.test\r\n\r\n", 400],
    ["two spaces after the target", "GET /  HTTP/1.1\r\nHost: a.test\r\n\r\n", 400],
    ["a space after the version", "GET / HTTP/1.1 \r\nHost: a.test\r\n\r\n", 400],
    ["a tab in the request line", "GET\t/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 400],
    ["a lower-case version", "GET / http/1.1\r\nHost: a.test\r\n\r\n", 400],
    ["HTTP/0.9", "GET /\r\nHost: a.test\r\n\r\n", 400],
    ["HTTP/2.0", "GET / HTTP/2.0\r\nHost: a.test\r\n\r\n", 505],
    ["CONNECT", "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test\r\n\r\n", 405],
    ["a TLS hello", "\x16\x03\x01\x02\x00", 400],
    ["two empty lines first", "\r\n\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n", 400],
    ["an unknown expectation", get("Expect: 200-ok\r\n"), 417],
    ["a body with TRACE", "TRACE / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n\r\n", 400],
    ["a long target", `GET /${"a".repeat(9_000)} HTTP/1.1\r\nHost: a.test\r\n\r\n`, 414],
    ["a long target without end", `GET /${"a".repeat(9_000)}`, 414],
    ["a long field", get(`X: ${"a".repeat(17_000)}\r\n`), 431],
    ["many fields", get("X: 1\r\n".repeat(200)), 431],
    ["a large head", get(`X: ${"a".repeat(10_000)}\r\n`.repeat(7)), 431],
  ];
  for (const [name, text, expected] of refused) {
    test(`refuses ${name} with ${expected}`, () => expect(status(text)).toBe(expected));
  }
  test("allows one empty line before the request line", () => {
    expect(status(`\r\n${get("")}`)).toBe(200);
  });

  test("pieces of any size give what the whole gives", () => {
    const line = fc.oneof(
      fc.constantFrom(
        "X-A: 1\r\n",
        "Host: a.test\r\n",
        "Content-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Connection: x-a, close\r\n",
        "X : 1\r\n",
        " fold\r\n",
        "Y: 1\n",
        "Z: \r1\r\n",
        "\r\n",
        `L: ${"a".repeat(16_400)}\r\n`,
      ),
      fc.string({ maxLength: 20 }).map((s) => `F: ${s}\r\n`),
    );
    fc.assert(
      fc.property(
        fc.constantFrom(
          "GET / HTTP/1.1\r\n",
          "POST http://a.test/x HTTP/1.1\r\n",
          "GET /  HTTP/1.1\r\n",
          "\r\nGET /\r\n",
        ),
        fc.array(line, { maxLength: 8 }),
        fc.array(fc.nat(40_000), { maxLength: 12 }),
        (first, lines, cuts) => {
          const whole = bytes(`${first}${lines.join("")}\r\nREST`);
          const at = [...new Set([0, ...cuts.map((cut) => cut % whole.length), whole.length])].sort((a, b) =>
            a - b
          );
          const pieces = at.slice(1).map((to, i) => whole.subarray(at[i]!, to));
          expect(read(pieces)).toEqual(read([whole]));
        },
      ),
      { numRuns: 500 },
    );
  });

  test("one byte at a time gives what the whole gives", () => {
    for (const [, text] of refused) {
      if (text.length > 20_000) continue;
      const single = [...bytes(text)].map((byte) => Buffer.from([byte]));
      expect(read(single)).toEqual(read([bytes(text)]));
    }
  });
});
