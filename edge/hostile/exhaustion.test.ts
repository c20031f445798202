/**
 * Clients that want the edge to spend more than they do: slow heads, slow bodies, slow readers, header bombs, many
 * connections, compressed bombs. What each holds is bounded, and somebody else is served meanwhile.
 */
import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import { RawClient, until } from "../edge.fixture.ts";
import { ClientConnection } from "../relay/client-connection.ts";
import { HeadScanner, NEED_MORE } from "../relay/head-scanner.ts";
import { LIMITS } from "../relay/limits.ts";
import { get, HOST, type Hostile, post, startHostile } from "./hostile.fixture.ts";
import { answerWithWhatWasSeen } from "./recording-origin.fixture.ts";

const SLOW_CLIENTS = 60;
const TRICKLE_MS = 20;
/** What one read of a socket may bring on Bun: what a connection holds at most when its peer does not take it. */
const READ_BYTES_MAX = 524_288;

// Hundreds of connections on a machine that others use too.
setDefaultTimeout(60_000);
let hostile: Hostile;
const clients: RawClient[] = [];
beforeAll(async () => {
  hostile = await startHostile({ limits: { headWaitMsMax: 700, bodyIdleMsMax: 700, lingerMsMax: 300 } });
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  hostile.origin.answer = answerWithWhatWasSeen;
  hostile.origin.take();
  await until(() => hostile.edge.edge.relay.clients.size === 0, 30_000);
});
afterAll(() => hostile.stop());

async function open(): Promise<RawClient> {
  const client = await RawClient.open(hostile.edge.port);
  clients.push(client);
  return client;
}
function openMany(count: number): Promise<RawClient[]> {
  return Promise.all(Array.from({ length: count }, open));
}
async function expectServed(): Promise<void> {
  const client = await open();
  expect(await client.send(get("/other")).has("saw GET /other with 0")).toStartWith("HTTP/1.1 200 OK");
}
const statusOf = (client: RawClient) => Number(client.text.slice(9, 12));
const held = () =>
  [...hostile.edge.edge.relay.clients].reduce(
    (sum, client) => sum + (client instanceof ClientConnection ? client.outbox.bytes : 0),
    0,
  );

describe("slow clients", () => {
  test("a head that comes a byte at a time ends at the head's limit, however lively it is", async () => {
    const slow = await openMany(SLOW_CLIENTS);
    const head = get("/slow", "X: y\r\n".repeat(100));
    let at = 0;
    const timer = setInterval(() => {
      for (const client of slow) if (!client.ended) client.send(head[at % head.length]!);
      at++;
    }, TRICKLE_MS);
    try {
      await expectServed();
      await Promise.all(slow.map((client) => client.end()));
    } finally {
      clearInterval(timer);
    }
    expect(slow.map(statusOf)).toEqual(slow.map(() => 408));
    expect(hostile.origin.take().map(({ text }) => text).join("")).not.toContain("/slow");
  });

  test("a connection that says nothing at all is closed without a word", async () => {
    const silent = await openMany(SLOW_CLIENTS);
    await expectServed();
    await Promise.all(silent.map((client) => client.end()));
    expect(silent.map(({ text }) => text)).toEqual(silent.map(() => ""));
  });

  test("a body that stops ends at its limit, and so does its request at the machine", async () => {
    const slow = await openMany(SLOW_CLIENTS);
    for (const client of slow) client.send(post("Content-Length: 1000\r\n", "begin"));
    await expectServed();
    await Promise.all(slow.map((client) => client.end()));
    expect(slow.map(statusOf)).toEqual(slow.map(() => 408));
    const taken = hostile.origin.connections.filter(({ text }) => text.includes("begin"));
    await until(() => taken.every(({ closed }) => closed));
  });

  test("readers that do not read hold back their machines, and one read each in the edge", async () => {
    const body = "x".repeat(8_000_000);
    let answered = 0;
    hostile.origin.answer = (seen) => {
      if (seen.start !== "GET /large") return answerWithWhatWasSeen(seen);
      answered++;
      return `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    };
    const slow = await openMany(SLOW_CLIENTS / 3);
    for (const client of slow) {
      client.socket.pause();
      client.send(get("/large"));
    }
    await until(() => answered === slow.length);
    await expectServed();
    await until(() => held() > 0);
    expect(held()).toBeLessThanOrEqual(slow.length * READ_BYTES_MAX);
  });

  test("answers that nobody reads are no longer made", async () => {
    // Each request is 60 bytes and its answer more: a client that only writes would fill the edge with answers.
    const [client] = await openMany(1);
    client!.socket.pause();
    const requests = get("/nobody-reads").repeat(2_000);
    let sent = 0;
    while (sent < 40 && client!.socket.write(requests)) sent++;
    await expectServed();
    expect(held()).toBeLessThanOrEqual(2 * READ_BYTES_MAX);
  });
});

describe("header bombs", () => {
  const bombs: [name: string, head: string, status: number][] = [
    ["one long line", get("/bomb", `X: ${"a".repeat(LIMITS.fieldLineBytesMax)}\r\n`), 431],
    ["one line without end", `GET /bomb HTTP/1.1\r\nHost: ${HOST}\r\nX: ${"a".repeat(200_000)}`, 431],
    ["many lines", get("/bomb", "X: 1\r\n".repeat(LIMITS.fieldsMax)), 431],
    ["many lines without end", `GET /bomb HTTP/1.1\r\nHost: ${HOST}\r\n${"X:\r\n".repeat(50_000)}`, 431],
    ["many large lines", get("/bomb", `X: ${"a".repeat(16_000)}\r\n`.repeat(5)), 431],
    ["a long target", get(`/${"a".repeat(LIMITS.requestLineBytesMax)}`), 414],
    ["a target without end", `GET /${"a".repeat(200_000)}`, 414],
    ["empty lines", "\r\n".repeat(50_000), 400],
    ["a name without end", `GET /bomb HTTP/1.1\r\n${"a".repeat(200_000)}`, 431],
    ["many members of Connection", get("/bomb", `Connection: ${"a,".repeat(8_000)}\r\n`), 200],
  ];
  for (const [name, head, status] of bombs) {
    test(`${name}: ${status}`, async () => {
      const many = await openMany(20);
      for (const client of many) client.send(head);
      await expectServed();
      await Promise.all(many.map((client) => until(() => client.ended || client.text.includes("\r\n\r\n"))));
      expect(many.map(statusOf)).toEqual(many.map(() => status));
    });
  }

  test("a head that comes a byte at a time is held once, and not sixty times", () => {
    const bytes = Buffer.from(`GET / HTTP/1.1\r\n${`X: ${"a".repeat(1_000)}\r\n`.repeat(60)}`);
    const scanners = Array.from({ length: 50 }, () => new HeadScanner(LIMITS));
    Bun.gc(true);
    const before = process.memoryUsage().heapUsed;
    for (const scanner of scanners) {
      for (let i = 0; i < bytes.length; i++) {
        expect(scanner.feed(bytes.subarray(i, i + 1), 0) === NEED_MORE).toBe(true);
      }
    }
    Bun.gc(true);
    const each = (process.memoryUsage().heapUsed - before) / scanners.length;
    expect(each).toBeLessThan(4 * bytes.length);
  });
});

describe("many connections", () => {
  test("500 at once are served, and leave nothing behind", async () => {
    const many = await openMany(500);
    for (const [i, client] of many.entries()) client.send(get(`/many-${i}`));
    await Promise.all(many.map((client, i) => client.has(`saw GET /many-${i} with 0`)));
    for (const client of many) client.close();
    await until(() => hostile.edge.edge.relay.clients.size === 0);
  });

  test("500 that come and go without a word leave nothing behind", async () => {
    for (const client of await openMany(500)) client.socket.resetAndDestroy();
    await expectServed();
  });
});

describe("compressed bodies", () => {
  const bomb = gzipSync(Buffer.alloc(50_000_000));
  const sum = (bytes: Buffer | string) =>
    createHash("sha256").update(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes).digest(
      "hex",
    );

  test("go through as they came, both ways", async () => {
    let got = "";
    hostile.origin.answer = ({ body }) => {
      got = body;
      return `HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: ${bomb.length}\r\n\r\n${
        bomb.toString("latin1")
      }`;
    };
    const client = await open();
    client.send(post(`Content-Encoding: gzip\r\nContent-Length: ${bomb.length}\r\n`));
    client.socket.write(bomb);
    await until(() => client.bytes.length > bomb.length);
    const at = client.bytes.indexOf("\r\n\r\n") + 4;
    await until(() => client.bytes.length === at + bomb.length);
    expect(sum(client.bytes.subarray(at))).toBe(sum(bomb));
    expect(sum(got)).toBe(sum(bomb));
  });
});
