/**
 * Where does a request end? The families CL.TE, TE.CL, TE.TE, CL.0, 0.CL, chunk extensions and chunk sizes, each at once
 * and in pieces. Every row must fool at least one reading (`lenient-reader.ts`) when it is passed on as it came.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { RawClient, until } from "../edge.fixture.ts";
import {
  get,
  HOST,
  type Hostile,
  post,
  type RequestCase,
  runRequestCase,
  startHostile,
} from "./hostile.fixture.ts";
import { RFC } from "./lenient-reader.ts";

let hostile: Hostile;
beforeAll(async () => {
  hostile = await startHostile();
});
afterAll(() => hostile.stop());

const HIDDEN = get("/smuggled");
const chunks = (body: string) => post("Transfer-Encoding: chunked\r\n", body);

/** Lines that some readers take for `Transfer-Encoding: chunked` and some do not. */
const CODINGS = [
  "Transfer-Encoding: xchunked",
  "Transfer-Encoding: chunked, identity",
  "Transfer-Encoding: identity, chunked",
  "Transfer-Encoding: chunked;q=1",
  'Transfer-Encoding: "chunked"',
  "Transfer-Encoding: 'chunked'",
  "Transfer-Encoding: , chunked",
  "Transfer-Encoding: chunked,",
  "Transfer-Encoding: \x0bchunked",
  "Transfer-Encoding: chunked\x0c",
  "Transfer-Encoding: chunked\0",
  "Transfer-Encoding: \xa0chunked",
  "Transfer-Encoding:\r\n chunked",
  "Transfer-Encoding\r\n : chunked",
  "Transfer-Encoding : chunked",
  "Transfer-Encoding\t: chunked",
  "Transfer-Encoding\0: chunked",
  "Transfer-Encoding\x0b: chunked",
  " Transfer-Encoding: chunked",
  "\x01Transfer-Encoding: chunked",
  "Transfer_Encoding: chunked",
  "Transfer-\xadEncoding: chunked",
  "X: y\nTransfer-Encoding: chunked",
  "X: y\rTransfer-Encoding: chunked",
  "X: y\0Transfer-Encoding: chunked",
  "X: y\r\n\rTransfer-Encoding: chunked",
  "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
  "Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
  "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
  "Transfer-Encoding:\r\nTransfer-Encoding: chunked",
];
/** Lines that some readers take for the length 5 and some do not. */
const LENGTHS = [
  "Content-Length: +5",
  "Content-Length: -5",
  "Content-Length: 0x5",
  "Content-Length: 5x",
  "Content-Length: 5, 5",
  "Content-Length: 5,",
  "Content-Length: 5 5",
  "Content-Length: 5;0",
  "Content-Length: 5.0",
  "Content-Length: 5e1",
  "Content-Length: 5_0",
  "Content-Length: 5\0",
  "Content-Length: \x0b5",
  "Content-Length: 18446744073709551621",
  "Content-Length: 4294967301000000",
  "Content-Length:\r\n 5",
  "Content-Length\r\n : 5",
  "Content-Length : 5",
  "Content-Length\t: 5",
  "Content-Length\0: 5",
  " Content-Length: 5",
  "\x0bContent-Length: 5",
  "Content_Length: 5",
  "X: y\nContent-Length: 5",
  "X: y\rContent-Length: 5",
  "X: y\0Content-Length: 5",
  "Content-Length: 0\r\nContent-Length: 5",
  "Content-Length: 5\r\nContent-Length: 5",
  "Content-Length: 0\r\nContent-Length : 5",
];
const QUIET_LENGTHS = /18446744073709551621|4294967301000000|5\r\nContent-Length: 5$|-5$/;

const groups: Record<string, RequestCase[]> = {
  "CL.TE and TE.CL": [
    {
      name: "Content-Length, then Transfer-Encoding",
      send: post(
        `Content-Length: ${HIDDEN.length + 5}\r\nTransfer-Encoding: chunked\r\n`,
        `0\r\n\r\n${HIDDEN}`,
      ),
      answers: "refused",
    },
    {
      name: "Transfer-Encoding, then Content-Length",
      send: post(
        `Transfer-Encoding: chunked\r\nContent-Length: 4\r\n`,
        `${HIDDEN.length.toString(16)}\r\n${HIDDEN}\r\n0\r\n\r\n`,
      ),
      answers: "refused",
    },
    {
      name: "Transfer-Encoding in HTTP/1.0",
      send: `POST /first HTTP/1.0\r\nHost: ${HOST}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${HIDDEN}`,
      answers: "refused",
      fools: "nobody",
    },
    ...CODINGS.map((line): RequestCase => ({
      name: `Content-Length and ${JSON.stringify(line)}`,
      send: post(`Content-Length: ${HIDDEN.length + 5}\r\n${line}\r\n`, `0\r\n\r\n${HIDDEN}`),
      answers: "refused",
    })),
  ],
  "TE.TE": [
    ...CODINGS.map((line): RequestCase => ({
      name: JSON.stringify(line),
      send: post(`${line}\r\n`, `0\r\n\r\n`),
      answers: "refused",
      ...(/chunked\r\nTransfer-Encoding: chunked$/.test(line) ? { fools: "nobody" as const } : {}),
    })),
    ...[
      "Transfer-Encoding:\tchunked",
      "Transfer-Encoding:chunked",
      "transfer-encoding:  Chunked \t",
      "TRANSFER-ENCODING: CHUNKED",
    ].map((line): RequestCase => ({
      name: `${JSON.stringify(line)} goes on in one form`,
      send: post(`${line}\r\n`, "3\r\nabc\r\n0\r\n\r\n"),
      answers: [200],
      forwarded: ["POST /first"],
      ...(line.endsWith("CHUNKED") ? { fools: "nobody" as const } : {}),
    })),
  ],
  "0.CL": [
    ...LENGTHS.map((line): RequestCase => ({
      name: JSON.stringify(line),
      send: `GET /first HTTP/1.1\r\nHost: ${HOST}\r\n${line}\r\n\r\nabcde`,
      answers: "refused",
      ...(QUIET_LENGTHS.test(line) ? { fools: "nobody" as const } : {}),
    })),
    ...[
      "Content-Length:\t10",
      "Content-Length:10",
      "content-length:  10 ",
      "Content-Length: 0010",
      "Content-Length: 010",
    ].map((
      line,
    ): RequestCase => ({
      name: `${JSON.stringify(line)} goes on in one form`,
      send: post(`${line}\r\n`, "0123456789"),
      answers: [200],
      forwarded: ["POST /first"],
    })),
  ],
  "chunk extensions": [
    ...[
      ["a bare LF in an extension", `1;a\nx\r\n${"1".padEnd(1)}\r\n0\r\n\r\n`],
      ["a bare LF behind a semicolon", "1;\nx\r\n0\r\n\r\n"],
      ["a bare CR in an extension", "1;a\rx\r\n0\r\n\r\n"],
      ["a bare LF behind the size", "1\nx\r\n0\r\n\r\n"],
      ["a bare CR behind the size", "1\rx\r\n0\r\n\r\n"],
      ["a quote that holds a line end", '1;a="\r\nx\r\n0\r\n\r\n"\r\nx\r\n0\r\n\r\n'],
      ["a quote that does not end", '1;a="b\r\nx\r\n0\r\n\r\n'],
      ["a bare LF in a quote", '1;a="\n"\r\nx\r\n0\r\n\r\n'],
    ].map(([name = "", body = ""]): RequestCase => ({ name, send: [chunks(""), body], answers: "refused" })),
    ...[
      ["no name", "1;\r\nx\r\n0\r\n\r\n"],
      ["NUL in an extension", "1;a\0b\r\nx\r\n0\r\n\r\n"],
      ["a space before the semicolon", "1 ;a\r\nx\r\n0\r\n\r\n"],
      ["more than the bound", `1;${"a".repeat(300)}\r\nx\r\n0\r\n\r\n`],
    ].map(([name = "", body = ""]): RequestCase => ({
      name,
      send: [chunks(""), body],
      answers: "refused",
      ...(/^(no name|more)/.test(name) ? { fools: "nobody" as const } : {}),
    })),
    {
      name: "valid ones go on",
      send: chunks('3;a=b;c="d;e"\r\nabc\r\n0;z\r\n\r\n'),
      answers: [200],
      forwarded: ["POST /first"],
      fools: "nobody",
    },
  ],
  "chunk sizes": [
    ...[
      "0x3",
      "+3",
      "-3",
      "3 ",
      " 3",
      "3\t",
      "3,3",
      "3_0",
      "3.0",
      "",
      "g",
      "100000003",
      "80000000",
      "10000000000000003",
      "ffffffffffffffff3",
      "fffffffffffffffffffffffd",
      "0000000000003",
    ].map((size): RequestCase => ({
      name: `${JSON.stringify(size)} as a size`,
      send: [chunks(""), `${size}\r\nabc\r\n0\r\n\r\n`],
      answers: "refused",
      ...(/^(|g|[+-]3|f{16}3|f+d|0+3|80000000)$/.test(size) ? { fools: "nobody" as const } : {}),
    })),
    ...[
      ["no end", "3\r\nabc0\r\n\r\n"],
      ["another end", "3\r\nabcXX0\r\n\r\n"],
      ["a bare LF as its end", "3\r\nabc\n0\r\n\r\n"],
      ["a bare CR as its end", "3\r\nabc\r0\r\n\r\n"],
      ["more data than its size", "3\r\nabcdef\r\n0\r\n\r\n"],
    ].map(([name = "", body = ""]): RequestCase => ({
      name: `a chunk with ${name}`,
      send: [chunks(""), body],
      answers: "refused",
      ...(/^(no end|more)/.test(name) ? { fools: "nobody" as const } : {}),
    })),
    ...[
      ["a bare LF behind the last chunk", `0\n\r\n`],
      ["a bare LF as the last line", `0\r\n\n`],
      ["a bare CR as the last line", `0\r\n\rX: 1\r\n\r\n`],
      ["a folded trailer", "0\r\nA: b\r\n c\r\n\r\n"],
      ["Transfer-Encoding as a trailer", "0\r\nTransfer-Encoding: chunked\r\n\r\n"],
      ["Content-Length as a trailer", "0\r\nContent-Length: 5\r\n\r\n"],
      ["Host as a trailer", "0\r\nHost: evil.test\r\n\r\n"],
      ["a request as a trailer", `0\r\n${HIDDEN}`],
      ["a trailer without end", `0\r\nX: ${"a".repeat(9_000)}`],
    ].map(([name = "", body = ""]): RequestCase => ({
      name,
      send: [chunks(""), body],
      answers: "refused",
      ...(/LF|CR/.test(name) ? {} : { fools: "nobody" as const }),
    })),
    {
      name: "leading zeros and a last chunk of several go on",
      send: chunks("003\r\nabc\r\n000\r\nX-Sum: 1\r\n\r\n"),
      answers: [200],
      forwarded: ["POST /first"],
      fools: "nobody",
    },
  ],
};

for (const [family, cases] of Object.entries(groups)) {
  describe(family, () => {
    for (const one of cases) {
      test(one.name, () => runRequestCase(hostile, one, false));
      test(`${one.name}, in pieces`, () => runRequestCase(hostile, one, true));
    }
  });
}

/** Here the bytes are plain, and the machine itself is at fault: it leaves bodies where they are and reads on. */
describe("CL.0", () => {
  for (const method of ["GET", "HEAD", "DELETE", "OPTIONS"]) {
    test(`a machine that leaves a ${method}'s body unread gets no other request on that connection`, async () => {
      const { edge, origin } = hostile;
      origin.reading = { ...RFC, bodiless: [method] };
      const before = origin.connections.length;
      const client = await RawClient.open(edge.port);
      const first = `${method} /first HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: ${HIDDEN.length}\r\n\r\n`;
      client.send(first + HIDDEN);
      await client.has("HTTP/1.1 200");
      client.send(get("/next"));
      expect(await client.has("saw GET /next")).not.toContain("saw GET /smuggled");
      const [poisoned] = origin.connections.filter(({ text }) => text.includes("/smuggled"));
      await until(() => poisoned!.closed);
      expect(poisoned!.text).not.toContain("/next");
      expect(origin.connections.length).toBeGreaterThan(before);
      client.close();
      origin.reading = RFC;
      origin.take();
    });
  }

  test("what a machine answers to a POST's body reaches nobody, and ends its connection", async () => {
    const { edge, origin } = hostile;
    origin.reading = { ...RFC, bodiless: ["POST"] };
    const client = await RawClient.open(edge.port);
    client.send(post(`Content-Length: ${HIDDEN.length}\r\n`, HIDDEN));
    await client.has("saw POST /first");
    const [poisoned] = origin.connections.filter(({ text }) => text.includes("/smuggled"));
    await until(() => poisoned!.closed);
    client.send(get("/next"));
    expect(await client.has("saw GET /next")).not.toContain("saw GET /smuggled");
    client.close();
    origin.reading = RFC;
    origin.take();
  });
});
