import { describe, expect, test } from "bun:test";
import { RequestHead } from "../relay/request-head.ts";
import { parseResponseHead, ResponseHead } from "../relay/response-head.ts";
import { compressedFields, compressionOf, withVary, withWeakEtag } from "./compressible.ts";

function request(fields = "Accept-Encoding: gzip\r\n", method = "GET"): RequestHead {
  return Object.assign(new RequestHead(), { method, fields });
}
function response(fields: string, status = 200): ResponseHead {
  const head = parseResponseHead(`HTTP/1.1 ${status} X\r\n${fields.replaceAll("\n", "\r\n")}`);
  if (typeof head === "string") throw new Error(head);
  return head;
}
const html = "Content-Type: text/html; charset=utf-8\nContent-Length: 5000\n";
const coding = (fields: string, status?: number) =>
  compressionOf(request(), response(fields, status))?.coding;

describe("compressionOf()", () => {
  test("compresses text, JSON, XML, scripts and the like", () => {
    for (
      const type of [
        "text/html",
        "text/css; charset=utf-8",
        "Application/JSON",
        "application/problem+json",
        "application/soap+xml; x=y",
        "image/svg+xml",
        "application/wasm",
        "font/ttf",
      ]
    ) {
      expect([type, coding(`Content-Type: ${type}\nContent-Length: 5000\n`)]).toEqual([type, "gzip"]);
    }
  });

  test("leaves alone what is compressed already, unknown, an event stream or gRPC", () => {
    for (
      const type of [
        "image/png",
        "video/mp4",
        "application/zip",
        "application/octet-stream",
        "text/event-stream",
        "text/event-stream; charset=utf-8",
        "application/grpc",
        "application/grpc+proto",
        "font/woff2",
        "multipart/x-mixed-replace",
      ]
    ) {
      expect([type, coding(`Content-Type: ${type}\nContent-Length: 5000\n`)]).toEqual([type, undefined]);
    }
    expect(coding("Content-Length: 5000\n")).toBe(undefined);
  });

  test("never where the app chose the encoding, even `identity` or `none`", () => {
    for (const value of ["gzip", "br", "identity", "none"]) {
      expect(coding(`${html}Content-Encoding: ${value}\n`)).toBe(undefined);
    }
  });

  test("never where one side forbids a transformation", () => {
    expect(coding(`${html}Cache-Control: public, No-Transform\n`)).toBe(undefined);
    const asked = request("Accept-Encoding: gzip\r\nCache-Control: no-transform\r\n");
    expect(compressionOf(asked, response(html))?.coding).toBe(null);
  });

  test("never a part, an empty answer, a short one, or one with a digest or trailers", () => {
    for (const status of [204, 205, 206]) expect(coding(html, status)).toBe(undefined);
    expect(coding("Content-Type: text/html\nContent-Length: 511\n")).toBe(undefined);
    expect(coding("Content-Type: text/html\nContent-Length: 512\n")).toBe("gzip");
    expect(coding("Content-Type: text/html\nTransfer-Encoding: chunked\n")).toBe("gzip");
    expect(coding("Content-Type: text/html\n")).toBe("gzip");
    for (
      const name of ["Content-Digest", "Repr-Digest", "Digest", "Content-MD5", "Trailer", "Content-Range"]
    ) {
      expect([name, coding(`${html}${name}: x\n`)]).toEqual([name, undefined]);
    }
  });

  test("says that a response varies, also to clients that get it as it is", () => {
    expect(compressionOf(request(""), response(html))).toEqual({ coding: null });
    expect(compressionOf(request("Accept-Encoding: identity\r\n"), response(html))).toEqual({ coding: null });
    expect(compressionOf(request(""), response("Content-Type: image/png\nContent-Length: 5000\n"))).toBe(
      null,
    );
  });

  test("answers HEAD as GET where it can, and 304 as the 200 that it stands for", () => {
    const head = request("Accept-Encoding: gzip\r\n", "HEAD");
    expect(compressionOf(head, response(html))).toEqual({ coding: "gzip" });
    expect(compressionOf(head, response("Content-Type: text/html\n"))).toEqual({ coding: null });
    expect(coding('ETag: "a"\n', 304)).toBe("gzip");
  });
});

describe("a compressed response's head", () => {
  test("loses its length and ranges, gains encoding and Vary, and its tag becomes weak", () => {
    const fields = response(`${html}ETag: "abc"\nAccept-Ranges: bytes\nX: 1\n`).fields;
    expect(compressedFields(fields, "br").split("\r\n").sort()).toEqual([
      "",
      "Content-Encoding: br",
      "Content-Type: text/html; charset=utf-8",
      'ETag: W/"abc"',
      "Vary: Accept-Encoding",
      "X: 1",
    ]);
  });

  test("names Accept-Encoding in Vary once", () => {
    expect(withVary("Vary: Cookie\r\nVary: Origin\r\n")).toBe("Vary: Cookie, Origin, Accept-Encoding\r\n");
    expect(withVary("vary: cookie, ACCEPT-ENCODING\r\n")).toBe("vary: cookie, ACCEPT-ENCODING\r\n");
    expect(withVary("Vary: *\r\n")).toBe("Vary: *\r\n");
    expect(withVary("")).toBe("Vary: Accept-Encoding\r\n");
  });

  test("keeps a tag that is weak already, and makes none up", () => {
    expect(withWeakEtag('ETag: W/"a"\r\n')).toBe('ETag: W/"a"\r\n');
    expect(withWeakEtag('Etag: "a"\r\n')).toBe('ETag: W/"a"\r\n');
    expect(withWeakEtag("X: 1\r\n")).toBe("X: 1\r\n");
  });
});
