/** HTTP/1.0 clients: no chunks, no 1xx, and a connection that stays only where they ask for it. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { RawClient } from "../edge.fixture.ts";
import { HOST, type Hostile, startHostile } from "../hostile/hostile.fixture.ts";
import { answerWithWhatWasSeen } from "../hostile/recording-origin.fixture.ts";

let hostile: Hostile;
beforeAll(async () => {
  hostile = await startHostile();
});
afterAll(() => hostile.stop());

const old = (method: string, target: string, fields = "") =>
  `${method} ${target} HTTP/1.0\r\nHost: ${HOST}\r\n${fields}\r\n`;
const KEEP = "Connection: keep-alive\r\n";
const CHUNKED = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

async function answers(send: string, machine?: string): Promise<string> {
  hostile.origin.answer = (seen) => machine ?? answerWithWhatWasSeen(seen);
  const client = await RawClient.open(hostile.edge.port);
  const text = await client.send(send).end();
  client.close();
  return text;
}

test("an HTTP/1.0 client's connection stays where it asks and the answer has a length", async () => {
  const text = await answers(old("GET", "/1", KEEP) + old("HEAD", "/2", KEEP) + old("GET", "/3"));
  expect(text.match(/Connection: .*/g)).toEqual([
    "Connection: keep-alive",
    "Connection: keep-alive",
    "Connection: close",
  ]);
  expect(text).toEndWith("saw GET /3 with 0");
});

test("an HTTP/1.0 client's connection ends after one answer where it does not ask", async () => {
  const text = await answers(old("GET", "/1") + old("GET", "/2"));
  expect(text.match(/HTTP\/1\.1 \d+/g)).toEqual(["HTTP/1.1 200"]);
});

test("an HTTP/1.0 client gets chunks as bytes until the end, without extensions and trailers", async () => {
  const text = await answers(
    old("GET", "/1", KEEP),
    `${CHUNKED}3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 1\r\n\r\n`,
  );
  expect(text).toContain("Connection: close");
  expect(text).not.toContain("Transfer-Encoding");
  expect(text).toEndWith("\r\n\r\nabcde");
});

test("an HTTP/1.0 client's HEAD of a chunked response says nothing of chunks", async () => {
  const text = await answers(old("HEAD", "/1"), CHUNKED);
  expect(text).not.toContain("Transfer-Encoding");
  expect(text).toEndWith("\r\n\r\n");
});

test("an HTTP/1.0 client gets no 1xx, and 204 and 304 keep its connection", async () => {
  const interim = "HTTP/1.1 103 Hints\r\nLink: <x>\r\n\r\n";
  for (const status of [204, 304]) {
    const text = await answers(
      old("GET", "/1", KEEP) + old("GET", "/2"),
      `${interim}HTTP/1.1 ${status} X\r\n\r\n`,
    );
    expect(text.match(/HTTP\/1\.1 \d+/g)).toEqual([`HTTP/1.1 ${status}`, `HTTP/1.1 ${status}`]);
  }
});

test("an HTTP/1.0 client may not send chunks, and needs a Host like everybody", async () => {
  expect(await answers(old("POST", "/1", "Transfer-Encoding: chunked\r\n") + "0\r\n\r\n")).toStartWith(
    "HTTP/1.1 400",
  );
  expect(await answers("GET / HTTP/1.0\r\n\r\n")).toStartWith("HTTP/1.1 400");
});

test("a machine of HTTP/1.0 is asked again on the same connection only where it keeps it", async () => {
  const { origin } = hostile;
  for (const [fields, kept] of [["", false], ["Connection: keep-alive\r\n", true]] as const) {
    origin.take();
    const text = await answers(
      `GET /1 HTTP/1.1\r\nHost: ${HOST}\r\n\r\n${old("GET", "/2")}`,
      `HTTP/1.0 200 OK\r\n${fields}Content-Length: 2\r\n\r\nok`,
    );
    expect(text.match(/HTTP\/1\.1 \d+/g)).toEqual(["HTTP/1.1 200", "HTTP/1.1 200"]);
    expect(origin.take().some(({ text }) => text.includes("GET /1 ") && text.includes("GET /2 "))).toBe(kept);
  }
});
