/** How messages travel: framing, order, what is added and what is left out. */
import { expect } from "bun:test";
import { RawClient, until } from "../edge.fixture.ts";
import type { Case, EdgeProcess } from "./conformance.fixture.ts";

const REQUEST = "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n";
const count = (text: string, part: string) => text.split(part).length - 1;
const last = (edge: EdgeProcess) => edge.origin.seen.at(-1)!;
const answer = (text: string) => `HTTP/1.1 200 OK\r\nContent-Length: ${text.length}\r\n\r\n${text}`;

function answers(edge: EdgeProcess, target: string, bytes: string): void {
  edge.origin.answers.set(target, ({ socket }) => void socket.write(bytes));
}

export const messages: Case[] = [
  {
    name: "a kept-alive connection serves one request after the other",
    async run(edge) {
      const client = await RawClient.open(edge.port);
      for (let i = 1; i <= 3; i++) {
        client.send(REQUEST);
        await until(() => count(client.text, "hello") === i);
      }
      expect(count(client.text, "HTTP/1.1 200")).toBe(3);
      client.close();
    },
  },
  {
    name: "pipelined requests are answered in order",
    async run(edge) {
      answers(edge, "/one", answer("first"));
      answers(edge, "/two", answer("second"));
      const pair = ["/one", "/two"].map((target) => `GET ${target} HTTP/1.1\r\nHost: app.test\r\n\r\n`);
      const client = await RawClient.open(edge.port);
      const text = await client.send(pair.join("")).has("second");
      expect(text.indexOf("first")).toBeGreaterThan(0);
      expect(text.indexOf("first")).toBeLessThan(text.indexOf("second"));
      client.close();
    },
  },
  {
    name: "a request that comes a byte at a time is read like any other",
    async run(edge) {
      const client = await RawClient.open(edge.port);
      client.socket.setNoDelay(true);
      for (const byte of "POST /bytes HTTP/1.1\r\nHost: app.test\r\nContent-Length: 3\r\n\r\nabc") {
        client.send(byte);
        await new Promise((resolve) => setImmediate(resolve));
      }
      await client.has("hello");
      expect(last(edge).body).toBe("abc");
      client.close();
    },
  },
  {
    name: "HTTP/1.0 closes unless the client asks otherwise",
    async run(edge) {
      expect(await edge.ask("GET / HTTP/1.0\r\nHost: app.test\r\n\r\n")).toContain("hello");
      const client = await RawClient.open(edge.port);
      const keep = "GET / HTTP/1.0\r\nHost: app.test\r\nConnection: keep-alive\r\n\r\n";
      await client.send(keep).has("hello");
      client.send(keep);
      await until(() => count(client.text, "hello") === 2);
      expect(client.text.toLowerCase()).toContain("connection: keep-alive");
      client.close();
    },
  },
  {
    name: "HEAD, 204 and 304 have no body, whatever their fields say",
    async run(edge) {
      answers(edge, "/204", "HTTP/1.1 204 No Content\r\n\r\n");
      answers(edge, "/304", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n");
      answers(edge, "/head", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
      const client = await RawClient.open(edge.port);
      client.send("HEAD /head HTTP/1.1\r\nHost: app.test\r\n\r\n");
      await client.has("Content-Length: 5");
      client.send("GET /204 HTTP/1.1\r\nHost: app.test\r\n\r\n");
      await client.has("HTTP/1.1 204");
      client.send("GET /304 HTTP/1.1\r\nHost: app.test\r\n\r\n");
      await client.has("HTTP/1.1 304");
      expect((await client.send(REQUEST).has("hello")).endsWith("\r\n\r\nhello")).toBe(true);
      expect(client.text).not.toContain("hello\r\n");
      client.close();
    },
  },
  {
    name: "a chunked request arrives whole, and its trailers do not disturb what follows",
    async run(edge) {
      const client = await RawClient.open(edge.port);
      const chunks = "5;name=value\r\nhello\r\n6\r\n world\r\n0\r\nX-Trailer: yes\r\n\r\n";
      client.send(`POST /chunks HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n${chunks}`);
      await client.has("hello");
      expect(last(edge).body).toBe("hello world");
      client.send(REQUEST);
      await until(() => count(client.text, "HTTP/1.1 200") === 2);
      client.close();
    },
  },
  {
    name: "a chunked response passes with its trailers",
    async run(edge) {
      const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n";
      answers(edge, "/trailers", `${head}3\r\nabc\r\n0\r\nX-Sum: 6\r\n\r\n`);
      const text = await edge.get("/trailers");
      expect(text).toContain("abc");
      expect(text).toContain("X-Sum: 6\r\n\r\n");
    },
  },
  {
    name: "a 103 passes, and the final response after it",
    async run(edge) {
      answers(edge, "/early", `HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n${answer("ok")}`);
      const text = await edge.get("/early");
      expect(text.indexOf("HTTP/1.1 103")).toBe(0);
      expect(text.indexOf("HTTP/1.1 200")).toBeGreaterThan(0);
    },
  },
  {
    name: "a client that waits for 100 gets one, and its body arrives",
    async run(edge) {
      const client = await RawClient.open(edge.port);
      edge.origin.answers.set("/expect", ({ socket }) => void socket.write(answer("done")));
      const fields = "Content-Length: 4\r\nExpect: 100-continue\r\n\r\n";
      client.send(`POST /expect HTTP/1.1\r\nHost: app.test\r\n${fields}`);
      // The origin of this suite reads whole requests, so the 100 is the edge's or none comes (RFC 9110 section 10.1.1).
      await Promise.race([client.has("HTTP/1.1 100"), new Promise((resolve) => setTimeout(resolve, 200))]);
      expect(await client.send("body").has("done")).toContain("HTTP/1.1 200");
      expect(last(edge).body).toBe("body");
      client.close();
    },
  },
  {
    name: "forwarding fields are added, hop-by-hop fields end here, others keep order and case",
    async run(edge) {
      await edge.get("/fields", "X-B: 1\r\nx-a: 2\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\n");
      const { head } = last(edge);
      expect(head).toMatch(/\r\nX-B: 1\r\nx-a: 2\r\n/);
      expect(head).not.toMatch(/\r\n(keep-alive|proxy-connection):/i);
      expect(head).toMatch(/\r\nx-forwarded-for: 127\.0\.0\.1\r\n/i);
      expect(head).toMatch(/\r\nx-forwarded-proto: http\r\n/i);
      expect(head).toMatch(/\r\nfly-request-id: [0-9A-Z]{26}-ams\r\n/i);
    },
  },
  {
    name: "a body of 8 MB passes both ways, byte for byte",
    async run(edge) {
      const body = "0123456789abcdef".repeat(524_288);
      edge.origin.answers.set("/large", ({ socket, body }) => void socket.write(Buffer.from(answer(body))));
      const fields = `Content-Length: ${body.length}\r\nConnection: close\r\n\r\n`;
      const client = await RawClient.open(edge.port);
      client.send(`POST /large HTTP/1.1\r\nHost: app.test\r\n${fields}${body}`);
      await until(() => client.ended || client.closed, 20_000);
      const at = client.text.indexOf("\r\n\r\n") + 4;
      expect(client.bytes.length - at).toBe(body.length);
      expect(client.text.slice(at) === body).toBe(true);
      client.close();
    },
  },
  {
    name: "an upgraded connection carries bytes both ways until one side ends",
    async run(edge) {
      edge.origin.answers.set("/tunnel", ({ socket }) => {
        socket.on("data", (bytes) => void socket.write(bytes));
        socket.on("end", () => socket.end());
        socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
      });
      const client = await RawClient.open(edge.port);
      client.send("GET /tunnel HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
      await client.has("HTTP/1.1 101");
      await client.send("ping one").has("ping one");
      await client.send("ping two").has("ping two");
      client.socket.end();
      await client.end();
      client.close();
    },
  },
];
