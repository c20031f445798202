import { describe, expect, test } from "bun:test";
import { READINGS, RFC, seeRequests, seeResponses } from "./lenient-reader.ts";

const reading = (name: string) => READINGS.find((one) => one.name === name)!;
const starts = (text: string, name: string) =>
  seeRequests(text, reading(name)).messages.map(({ start }) => start);
const post = (fields: string, body: string) => `POST /a HTTP/1.1\r\nHost: h\r\n${fields}\r\n${body}`;
const hidden = "GET /b HTTP/1.1\r\nX: ";

describe("lenient readings", () => {
  test("all see the same in what is plain", () => {
    const text = post("Content-Length: 3\r\n", "abc") +
      post("Transfer-Encoding: chunked\r\n", "3;a=b\r\nabc\r\n0\r\nT: 1\r\n\r\n") +
      "GET /c HTTP/1.1\r\nHost: h\r\n\r\n";
    for (const one of READINGS) expect(seeRequests(text, one)).toEqual(seeRequests(text, RFC));
    expect(seeRequests(text, RFC).messages.map(({ body }) => body)).toEqual(["abc", "abc", ""]);
  });

  const both = post("Content-Length: 30\r\nTransfer-Encoding: chunked\r\n", `0\r\n\r\n${hidden}\r\n\r\n`);
  const cases: [name: string, text: string][] = [
    ["Content-Length before Transfer-Encoding", both],
    [
      "bare LF",
      post(`A: b\nTransfer-Encoding: chunked\r\nContent-Length: 29\r\n`, `0\r\n\r\n${hidden}\r\n\r\n`),
    ],
    ["bare CR", post(`A: b\rContent-Length: 3\r\n`, hidden)],
    ["chunked anywhere in the value", post("Transfer-Encoding: xchunked\r\n", `0\r\n\r\n`)],
    ["chunked byte for byte", post("Transfer-Encoding:\tchunked\r\n", `0\r\n\r\n`)],
    ["chunked as the last coding", post("Transfer-Encoding: x, chunked\r\n", `0\r\n\r\n`)],
    ["the last of several lines", post("Content-Length: 0\r\nContent-Length: 5\r\n", "abcde")],
    ["digits at the start of a length", post("Content-Length: 5x\r\n", "abcde")],
    ["lengths as C reads numbers", post("Content-Length: 010\r\n", "0123456789")],
    ["folded lines as fields", post("A: b\r\n Content-Length: 5\r\n", "abcde")],
    ["names trimmed", post("Content-Length : 5\r\n", "abcde")],
    ["odd bytes left out", post("Content-\x0bLength: 5\r\n", "abcde")],
    ["underscores as hyphens", post("Content_Length: 5\r\n", "abcde")],
    ["NUL as an end", post("A: b\0Content-Length: 5\r\n", "abcde")],
    [
      "line ends in quoted extensions",
      post("Transfer-Encoding: chunked\r\n", '1;a="\r\n"\r\nb\r\n0\r\n\r\n'),
    ],
    ["chunk sizes of 32 bits", post("Transfer-Encoding: chunked\r\n", "100000001\r\na\r\n0\r\n\r\n")],
    ["ends of chunks unread", post("Transfer-Encoding: chunked\r\n", "1\r\naXX0\r\n\r\n")],
  ];
  for (const [name, text] of cases) {
    test(`${name} differs where it says`, () => {
      expect(seeRequests(text, reading(name))).not.toEqual(seeRequests(text, RFC));
    });
  }
  test("a smuggled request is seen", () => {
    expect(
      starts(
        `${
          post(
            "Content-Length: 29\r\nTransfer-Encoding: chunked\r\n",
            "0\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n",
          )
        }`,
        "RFC 9112",
      ),
    )
      .toEqual(["POST /a", "GET /b"]);
  });
  test("responses end by their requests' methods, their statuses and the connection", () => {
    const text =
      "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nHTTP/1.1 100 X\r\n\r\nHTTP/1.1 204 X\r\n\r\nHTTP/1.1 200 OK\r\n\r\nrest";
    expect(seeResponses(text, ["HEAD", "GET", "GET"], RFC).messages.map(({ start, body }) => start + body))
      .toEqual([
        "200",
        "100",
        "204",
        "200rest",
      ]);
  });
});
