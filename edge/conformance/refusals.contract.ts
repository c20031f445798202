/** What the edge answers itself: refusals, error pages, limits, failures of machines and of clients. */
import { expect } from "bun:test";
import { closedPort, RawClient, until } from "../edge.fixture.ts";
import type { Case } from "./conformance.fixture.ts";

/** Refused before a machine hears of it, and the connection ends. */
function refused(name: string, request: string, status: number, code: string): Case {
  return {
    name: `${name} is ${status} ${code}, and reaches no machine`,
    async run(edge) {
      const before = edge.origin.seen.length;
      const text = await edge.ask(request);
      expect(text.slice(0, 13)).toBe(`HTTP/1.1 ${status} `);
      expect(text).toContain(code);
      expect(text.toLowerCase()).toContain("connection: close");
      expect(edge.origin.seen.length).toBe(before);
    },
  };
}

const HOST = "Host: app.test\r\n";
const GET = `GET / HTTP/1.1\r\n${HOST}`;
const POST = `POST / HTTP/1.1\r\n${HOST}`;
const CHUNKED = "Transfer-Encoding: chunked\r\n";

export const refusals: Case[] = [
  refused(
    "a length beside chunks",
    `${POST}Content-Length: 3\r\n${CHUNKED}\r\n0\r\n\r\n`,
    400,
    "edge.bad_request",
  ),
  refused(
    "two lengths",
    `${POST}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd`,
    400,
    "edge.bad_request",
  ),
  refused("a space before the colon", `${GET}X-A : 1\r\n\r\n`, 400, "edge.bad_request"),
  refused("a folded line", `${GET}X-A: 1\r\n 2\r\n\r\n`, 400, "edge.bad_request"),
  refused("two hosts", `${GET}Host: other.test\r\n\r\n`, 400, "edge.bad_request"),
  refused("no host", "GET / HTTP/1.1\r\n\r\n", 400, "edge.bad_request"),
  refused("a bare line feed", `GET / HTTP/1.1\n${HOST}\r\n`, 400, "edge.bad_request"),
  refused("a long target", `GET /${"a".repeat(9_000)} HTTP/1.1\r\n${HOST}\r\n`, 414, "edge.target_too_long"),
  refused("a long field", `${GET}X-A: ${"a".repeat(17_000)}\r\n\r\n`, 431, "edge.head_too_large"),
  refused("too many fields", `${GET}${"X-A: 1\r\n".repeat(130)}\r\n`, 431, "edge.head_too_large"),
  refused("an unknown coding", `${POST}Transfer-Encoding: x\r\n\r\n`, 501, "edge.unknown_transfer_coding"),
  refused("another version", `GET / HTTP/3.0\r\n${HOST}\r\n`, 505, "edge.version_refused"),
  {
    name: "an unknown host is 404 with a page, as JSON where that is asked for, and keeps the connection",
    async run(edge) {
      const client = await RawClient.open(edge.port);
      client.send("GET / HTTP/1.1\r\nHost: nobody.test\r\n\r\n");
      await client.has("edge.unknown_host");
      expect(client.text.startsWith("HTTP/1.1 404 ")).toBe(true);
      client.send("GET / HTTP/1.1\r\nHost: nobody.test\r\nAccept: application/json\r\n\r\n");
      await client.has('"edge.unknown_host"');
      expect(client.text.split("HTTP/1.1 404 ").length).toBe(3);
      client.close();
    },
  },
  {
    name: "a machine that nobody listens at is 502",
    async run(edge) {
      await edge.app("refusing", await closedPort());
      const text = await edge.ask("GET / HTTP/1.1\r\nHost: refusing.test\r\nConnection: close\r\n\r\n");
      expect(text).toMatch(/^HTTP\/1\.1 502 /);
      expect(text).toContain("edge.machine_refused");
    },
  },
  {
    name: "a machine that answers nonsense is 502, and its connection is not used again",
    async run(edge) {
      edge.origin.answers.set("/nonsense", ({ socket }) => void socket.write("nonsense\r\n\r\nmore"));
      const { closed } = edge.origin;
      expect(await edge.get("/nonsense")).toContain("edge.bad_response");
      await until(() => edge.origin.closed > closed);
      expect(await edge.get("/after")).toContain("hello");
    },
  },
  {
    name: "a response that breaks off ends the client's connection before its length",
    async run(edge) {
      const part = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart";
      edge.origin.answers.set("/cut", ({ socket }) => void socket.end(part));
      const text = await edge.ask("GET /cut HTTP/1.1\r\nHost: app.test\r\n\r\n");
      expect(text.endsWith("\r\n\r\npart")).toBe(true);
    },
  },
  {
    name: "a client that goes away takes its request along",
    async run(edge) {
      edge.origin.answers.set("/forever", () => {});
      const client = await RawClient.open(edge.port);
      client.send("GET /forever HTTP/1.1\r\nHost: app.test\r\n\r\n");
      await until(() => edge.origin.seen.at(-1)?.head.startsWith("GET /forever ") === true);
      const { socket } = edge.origin.seen.at(-1)!;
      client.close();
      await until(() => socket.destroyed || socket.readableEnded);
    },
  },
  {
    name: "each request has one line in the access log, with the id that its response names",
    async run(edge) {
      const text = await edge.get("/logged");
      const id = /\r\nfly-request-id: (\S+)\r\n/i.exec(text)![1];
      await until(() => edge.log().some(({ request_id }) => request_id === id));
      const lines = edge.log().filter(({ request_id }) => request_id === id);
      expect(lines.length).toBe(1);
      expect(lines[0]).toMatchObject({ method: "GET", host: "app.test", target: "/logged", status: 200 });
    },
  },
  {
    name: "health and metrics are on the admin listener, and there alone",
    async run(edge) {
      expect(await edge.adminPage("/healthz")).toContain('"status":"ok"');
      expect(await edge.adminPage("/metrics")).toContain("fly_edge_http_responses_count");
      expect(await edge.get("/metrics")).toContain("hello");
    },
  },
];
