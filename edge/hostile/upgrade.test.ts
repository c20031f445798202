/**
 * When is a connection no longer HTTP/1.1? Only once a machine has said 101 to an upgrade that the edge has passed on;
 * until then what a client sends behind its request is its next request, with all that the edge does to requests.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { RawClient, until } from "../edge.fixture.ts";
import {
  get,
  HOST,
  type Hostile,
  type RequestCase,
  runRequestCase,
  startHostile,
} from "./hostile.fixture.ts";
import { answerWithWhatWasSeen } from "./recording-origin.fixture.ts";

let hostile: Hostile;
beforeAll(async () => {
  hostile = await startHostile();
});
afterAll(() => hostile.stop());

const HTTP2 = "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n";
const WEBSOCKET = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const SECOND = get("/second", "Fly-Client-IP: forged\r\n");

const notPassedOn: [name: string, fields: string][] = [
  ["h2c", `Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n${HTTP2}`],
  ["h2c without Connection", `Upgrade: h2c\r\n${HTTP2}`],
  ["h2c without its settings listed", `Connection: Upgrade\r\nUpgrade: h2c\r\n${HTTP2}`],
  ["H2C-14", `Connection: upgrade\r\nUpgrade: H2C-14\r\n`],
  ["HTTP/2.0", `Connection: upgrade\r\nUpgrade: HTTP/2.0\r\n`],
  ["h2c beside WebSocket", `Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n`],
  ["h2c on a line of its own", `Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n`],
  ["WebSocket without Connection", "Upgrade: websocket\r\n"],
  ["WebSocket with a body", "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0005\r\n"],
];

describe("an upgrade that is not passed on", () => {
  for (const [name, fields] of notPassedOn) {
    const body = fields.includes("Content-Length") ? "hello" : "";
    const one: RequestCase = {
      name,
      send: get("/first", fields) + body + SECOND,
      answers: [200, 200],
      forwarded: ["GET /first", "GET /second"],
      fools: "nobody",
    };
    for (const inPieces of [false, true]) {
      test(`${name}${inPieces ? ", in pieces" : ""}`, async () => {
        const upgraded: string[] = [];
        hostile.origin.answer = answerWithWhatWasSeen;
        const watch = (chunk: string) =>
          upgraded.push(...chunk.match(/^(upgrade|http2-settings|connection):.*$/gim) ?? []);
        const take = hostile.origin.take.bind(hostile.origin);
        hostile.origin.take = () => {
          const taken = take();
          for (const { text } of taken) watch(text);
          return taken;
        };
        await runRequestCase(hostile, one, inPieces);
        hostile.origin.take = take;
        if (!name.includes("without")) expect(upgraded).toEqual([]);
        else expect(upgraded.filter((line) => !line.startsWith("HTTP2-Settings"))).toEqual([]);
      });
    }
  }
});

describe("an upgrade that the machine declines", () => {
  for (
    const status of [
      "426 Upgrade Required",
      "400 Bad Request",
      "200 OK",
      "404 Not Found",
      "500 Internal Server Error",
    ]
  ) {
    test(`with ${status} makes no tunnel`, async () => {
      const { edge, origin, log } = hostile;
      origin.take();
      log.length = 0;
      origin.answer = (seen) =>
        seen.start === "GET /first"
          ? `HTTP/1.1 ${status}\r\nContent-Length: 2\r\n\r\nno`
          : answerWithWhatWasSeen(seen);
      const client = await RawClient.open(edge.port);
      client.send(get("/first", WEBSOCKET) + SECOND);
      await client.has("saw GET /second with 0");
      expect(log.map(({ target }) => target)).toEqual(["/first", "/second"]);
      const taken = origin.take().map(({ text }) => text).join("");
      expect(taken).toContain("Upgrade: websocket");
      expect(taken).not.toContain("forged");
      client.close();
    });
  }
});

describe("an upgrade that the machine takes", () => {
  test("carries every byte from then on, and its connection serves nobody else", async () => {
    const { edge, origin, log } = hostile;
    origin.take();
    log.length = 0;
    origin.answer = (seen) =>
      seen.start === "GET /first"
        ? "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\n"
        : answerWithWhatWasSeen(seen);
    const client = await RawClient.open(edge.port);
    client.send(get("/first", WEBSOCKET));
    await client.has("101 Switching Protocols\r\n");
    // A machine that goes on reading HTTP answers what the tunnel brings; nobody else ever hears of it.
    client.send(`GET /inside HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
    expect(await client.has("saw GET /inside with 0")).not.toContain("Content-Length: 5\r\n");
    const other = await RawClient.open(edge.port);
    await other.send(get("/other")).has("saw GET /other with 0");
    const [tunnel] = origin.connections.filter(({ text }) => text.includes("/inside"));
    expect(tunnel!.text).not.toContain("/other");
    client.close();
    await until(() => tunnel!.closed);
    other.send(get("/next"));
    await other.has("saw GET /next with 0");
    expect(tunnel!.text).not.toContain("/next");
    await until(() => log.length === 3);
    expect(log.map(({ target, status }) => `${status} ${target}`)).toContain("101 /first");
    expect(log.map(({ target }) => target)).not.toContain("/inside");
    other.close();
  });

  test("what the client sent before the answer goes the way of the answer", async () => {
    const { edge, origin, log } = hostile;
    for (const taken of [true, false]) {
      origin.take();
      log.length = 0;
      let answer: (() => void) | null = null;
      origin.answer = (seen, socket) => {
        if (seen.start !== "GET /first") return answerWithWhatWasSeen(seen);
        answer = () =>
          socket.write(
            taken
              ? "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
              : "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
          );
        return null;
      };
      const client = await RawClient.open(edge.port);
      client.send(get("/first", WEBSOCKET) + SECOND);
      await until(() => answer !== null);
      expect(origin.connections.some(({ text }) => text.includes("/second"))).toBe(false);
      answer!();
      await client.has("saw GET /second with 0");
      expect(log.some(({ target }) => target === "/second")).toBe(!taken);
      const seen = origin.take().map(({ text }) => text).join("");
      expect(seen.includes("forged")).toBe(taken);
      client.close();
    }
  });
});
