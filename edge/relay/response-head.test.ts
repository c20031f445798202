import { describe, expect, test } from "bun:test";
import { bodyLength, CHUNKED, parseResponseHead, ResponseHead, UNTIL_CLOSE } from "./response-head.ts";

function head(text: string): ResponseHead {
  const parsed = parseResponseHead(text);
  if (typeof parsed === "string") throw new Error(parsed);
  return parsed;
}

describe("response head", () => {
  test("keeps the lines that go on, and the reason", () => {
    const parsed = head(
      "HTTP/1.1 200 Fine so\r\nX-B: 1\r\nServer: x\r\nConnection: x-b, close\r\nDate: d\r\n",
    );
    expect(parsed.reason).toBe(" Fine so");
    expect(parsed.fields).toBe("Date: d\r\n");
    expect(parsed.keepAlive).toBe(false);
    expect(parsed.hasDate).toBe(true);
  });
  test("knows how long the body is", () => {
    expect(head("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n").length).toBe(7);
    expect(head("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n").length).toBe(CHUNKED);
    expect(head("HTTP/1.0 200 OK\r\n").length).toBe(UNTIL_CLOSE);
  });
  test("framing fields of 1xx and 204, which have no body, do not go on; those of 304 do", () => {
    for (const framing of ["Content-Length: 7\r\n", "Transfer-Encoding: chunked\r\n"]) {
      for (const status of [103, 204]) {
        expect(head(`HTTP/1.1 ${status} X\r\nA: 1\r\n${framing}B: 2\r\n`).fields).toBe("A: 1\r\nB: 2\r\n");
      }
      expect(head(`HTTP/1.1 304 X\r\n${framing}`).fields).toBe(framing);
    }
  });
  test("framing lines are written anew where a byte-wise reader would not know them", () => {
    expect(head("HTTP/1.1 200 OK\r\nA: 1\r\nContent-Length:\t007 \r\nB: 2\r\n").fields).toBe(
      "A: 1\r\nContent-Length: 7\r\nB: 2\r\n",
    );
    expect(head("HTTP/1.1 200 OK\r\ntransfer-encoding:CHUNKED\r\n").fields).toBe(
      "Transfer-Encoding: chunked\r\n",
    );
    expect(head("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n").fields).toBe("content-length: 0\r\n");
  });
  test("framing fields with underscores are left out, other names with them pass", () => {
    const parsed = head(
      "HTTP/1.1 200 OK\r\nContent_Length: 7\r\nX_Y: 1\r\nKeep_Alive: 1\r\ntransfer_encoding: chunked\r\n",
    );
    expect(parsed.fields).toBe("X_Y: 1\r\nKeep_Alive: 1\r\n");
    expect(parsed.length).toBe(UNTIL_CLOSE);
  });
  test("HEAD, 1xx, 204 and 304 have no body", () => {
    const withLength = head("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n");
    expect(bodyLength(withLength, "HEAD")).toBe(0);
    expect(bodyLength(withLength, "GET")).toBe(7);
    for (const status of [100, 204, 304]) {
      expect(bodyLength(head(`HTTP/1.1 ${status} X\r\nContent-Length: 7\r\n`), "GET")).toBe(0);
    }
  });
  for (
    const bad of [
      "HTTP/1.1 20 OK\r\n",
      "HTTP/1.1 099 OK\r\n",
      "HTTP/1.1 700 OK\r\n",
      "HTTP/2.0 200 OK\r\n",
      "HTTP/1.1  200 OK\r\n",
      "HTTP/1.1 200\tOK\r\n",
      "HTTP/1.1 200 O\0K\r\n",
      "ICY 200 OK\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n",
      "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n",
      "HTTP/1.1 200 OK\r\nX : 1\r\n",
      "HTTP/1.1 200 OK\r\n folded\r\n",
    ]
  ) {
    test(`refuses ${JSON.stringify(bad)}`, () => expect(typeof parseResponseHead(bad)).toBe("string"));
  }
});
