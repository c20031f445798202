/** Compression on a real edge: what curl and the codings' own tools make of it, slow streams, slow readers, ends. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from "node:zlib";
import { $ } from "bun";
import type { Socket } from "node:net";
import { Services } from "../../control/contract/machine.ts";
import {
  RawClient,
  type RawUpstream,
  startRawUpstream,
  startTestEdge,
  type TestEdge,
  until,
} from "../edge.fixture.ts";
import { CHUNKED } from "../relay/response-head.ts";
import { BodyReader } from "../relay/body-reader.ts";
import { ENCODERS_MAX } from "./compress-filter.ts";
import type { ClientConnection } from "../relay/client-connection.ts";
import { LIMITS } from "../relay/limits.ts";

let t: TestEdge;
let page: RawUpstream;
const text = Array.from({ length: 5_000 }, (_, i) => `<li>${i} ${(i * 7_919) % 65_537}</li>\n`).join("");
const typed = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n";

beforeAll(async () => {
  t = await startTestEdge({ listener: { h2c: true } });
  page = await startRawUpstream(({ socket, text: seen }) => {
    if (!seen.endsWith("\r\n\r\n")) return;
    const request = seen.slice(seen.lastIndexOf(" HTTP/1.1") - 20);
    if (request.includes("/chunked")) {
      socket.write(`${typed}Transfer-Encoding: chunked\r\n\r\n`);
      for (let i = 0; i < text.length; i += 1_000) {
        const piece = text.slice(i, i + 1_000);
        socket.write(`${piece.length.toString(16)};x=y\r\n${piece}\r\n`);
      }
      socket.write("0\r\nX-Sum: 1\r\n\r\n");
    } else if (request.includes("/close")) {
      socket.end(`${typed}Connection: close\r\n\r\n${text}`);
    } else if (request.includes("/tagged")) {
      socket.write(`${typed}ETag: "t"\r\nAccept-Ranges: bytes\r\nContent-Length: ${text.length}\r\n\r\n`);
      if (!seen.startsWith("HEAD")) socket.write(text);
    } else {
      socket.write(`${typed}Content-Length: ${text.length}\r\n\r\n${text}`);
    }
  });
  await compressed("page", page.port);
});
afterAll(async () => {
  await t.stop();
  await page.stop();
});

function compressed(name: string, port: number): Promise<void> {
  const ports = [{ port: 80, http_options: { compress: true } }];
  return t.app(name, port, { services: Services.parse([{ internal_port: port, ports }]) });
}
const decoders = { gzip: gunzipSync, br: brotliDecompressSync, zstd: zstdDecompressSync };
const connections = () => [...t.edge.relay.clients] as ClientConnection[];
const encodersIdle = () => until(() => t.edge.policyCounts.compressions === 0);

/** Splits one response that is all there: head, payload without chunks, what follows. */
function parts(bytes: Buffer): { head: string; payload: Buffer; rest: Buffer; whole: boolean } {
  const end = bytes.indexOf("\r\n\r\n") + 4;
  const reader = new BodyReader(LIMITS);
  reader.begin(CHUNKED);
  const payload: Buffer[] = [];
  reader.onPayload = (from, start, to) => payload.push(from.subarray(start, to));
  const next = reader.feed(bytes, end);
  if (reader.invalid) throw new Error("chunks are not valid");
  return {
    head: bytes.toString("latin1", 0, end),
    payload: Buffer.concat(payload),
    rest: bytes.subarray(next),
    whole: reader.done,
  };
}

describe("compress", () => {
  test("gives what curl decodes to the same bytes, in each coding and framing, also to HTTP/1.0 and over HTTP/2", async () => {
    for (const coding of ["gzip", "br", "zstd"] as const) {
      for (const path of ["/length", "/chunked", "/close"]) {
        for (const version of ["--http1.1", "--http1.0", "--http2-prior-knowledge"]) {
          const url = `http://127.0.0.1:${t.port}${path}`;
          const result = await $`curl -s ${version} -D - --compressed -H ${`Accept-Encoding: ${coding}`} \
            -H ${"Host: page.test"} ${url}`.quiet();
          const [head = "", ...rest] = result.stdout.toString("latin1").split("\r\n\r\n");
          expect(head).toMatch(new RegExp(`^content-encoding: ${coding}\r$`, "im"));
          expect(head).not.toMatch(/content-length/i);
          expect(rest.join("\r\n\r\n")).toBe(text);
        }
      }
    }
    await encodersIdle();
  });

  test("keeps a connection, answers pipelined requests in order, and lets the machine's connection be used again", async () => {
    const before = page.connections.length;
    const client = await RawClient.open(t.port);
    const request = (coding: string) =>
      `GET /length HTTP/1.1\r\nHost: page.test\r\nAccept-Encoding: ${coding}\r\n\r\n`;
    client.send(request("gzip") + request("br") + request("zstd") + request("br"));
    let rest: Buffer = Buffer.alloc(0);
    for (const coding of ["gzip", "br", "zstd", "br"] as const) {
      await until(() => {
        const bytes = rest.length > 0 ? Buffer.concat([rest, client.bytes]) : client.bytes;
        if (!bytes.includes("\r\n\r\n") || !parts(bytes).whole) return false;
        client.bytes = bytes;
        return true;
      });
      const one = parts(client.bytes);
      expect(one.head).toContain(`Content-Encoding: ${coding}\r\n`);
      expect(decoders[coding](one.payload).toString()).toBe(text);
      client.bytes = Buffer.alloc(0);
      rest = Buffer.from(one.rest);
    }
    client.close();
    expect(page.connections.length - before).toBeLessThanOrEqual(1);
  });

  test("weakens the tag, offers no ranges, and says as much to HEAD", async () => {
    for (const method of ["GET", "HEAD"]) {
      const client = await RawClient.open(t.port);
      client.send(
        `${method} /tagged HTTP/1.1\r\nHost: page.test\r\nAccept-Encoding: br\r\nConnection: close\r\n\r\n`,
      );
      const answer = await client.end();
      const head = answer.slice(0, answer.indexOf("\r\n\r\n"));
      expect(head).toContain('ETag: W/"t"');
      expect(head).toContain("Vary: Accept-Encoding");
      expect(head).toContain("Content-Encoding: br");
      expect(head).not.toMatch(/accept-ranges|content-length/i);
      if (method === "HEAD") expect(answer.slice(head.length + 4)).toBe("");
      client.close();
    }
  });

  test("leaves the body as it came for a client that takes no coding, and says that it varies", async () => {
    const response = await fetch(`http://127.0.0.1:${t.port}/`, {
      headers: { host: "page.test", "accept-encoding": "identity" },
    });
    expect(response.headers.get("content-length")).toBe(String(text.length));
    expect(response.headers.get("vary")).toBe("Accept-Encoding");
    expect(await response.text()).toBe(text);
  });

  test("leaves responses as they are while as many as allowed are being compressed", async () => {
    const counts = t.edge.policyCounts;
    counts.compressions += ENCODERS_MAX;
    const response = await fetch(`http://127.0.0.1:${t.port}/`, {
      headers: { host: "page.test", "accept-encoding": "gzip" },
    });
    counts.compressions -= ENCODERS_MAX;
    expect(response.headers.get("content-encoding")).toBe(null);
    expect(response.headers.get("vary")).toBe("Accept-Encoding");
    expect(await response.text()).toBe(text);
    expect(counts.compressionsSkipped).toBe(1);
  });

  test("gives a slow stream's bytes on while more are to come", async () => {
    let socket: Socket | null = null;
    const slow = await startRawUpstream((connection) => socket = connection.socket);
    await compressed("slow", slow.port);
    for (const coding of ["gzip", "br", "zstd"] as const) {
      socket = null;
      const client = await RawClient.open(t.port);
      client.send(`GET / HTTP/1.1\r\nHost: slow.test\r\nAccept-Encoding: ${coding}\r\n\r\n`);
      await until(() => socket !== null);
      socket!.write(`${typed}Transfer-Encoding: chunked\r\n\r\n`);
      await client.has("Transfer-Encoding: chunked");
      let size = 0;
      for (const word of ["first", "second", "third"]) {
        socket!.write(`${word.length.toString(16)}\r\n${word}\r\n`);
        await until(() => parts(client.bytes).payload.length > size);
        size = parts(client.bytes).payload.length;
      }
      socket!.write("0\r\n\r\n");
      await until(() => parts(client.bytes).whole);
      expect(decoders[coding](parts(client.bytes).payload).toString()).toBe("firstsecondthird");
      client.close();
    }
    await slow.stop();
    await encodersIdle();
  });

  test("a slow reader holds the machine back, then gets all of it", async () => {
    // Random text: it compresses to about three quarters, so that what is held cannot hide in the encoder.
    const block = Buffer.from(crypto.getRandomValues(new Uint8Array(49_152))).toString("base64");
    const blocks = 1_000;
    let sent = 0;
    const big = await startRawUpstream(({ socket }) => {
      socket.write(`${typed}Content-Length: ${block.length * blocks}\r\n\r\n`);
      const pump = () => {
        while (sent < blocks) {
          sent++;
          if (!socket.write(block)) return;
        }
      };
      socket.on("drain", pump);
      pump();
    });
    await compressed("big", big.port);
    const client = await RawClient.open(t.port);
    let received = 0;
    const digest = new Bun.CryptoHasher("sha256");
    const { createGunzip } = await import("node:zlib");
    const reader = new BodyReader(LIMITS);
    const unzip = createGunzip();
    unzip.on("data", (bytes: Buffer) => {
      received += bytes.length;
      digest.update(bytes);
    });
    client.socket.pause();
    client.socket.removeAllListeners("data");
    client.send("GET / HTTP/1.1\r\nHost: big.test\r\nAccept-Encoding: gzip\r\n\r\n");
    // The machine is held back: what it could send stays the same for as long as nobody reads.
    let before = -1;
    await until(async () => {
      const still = sent === before;
      before = sent;
      await new Promise((resolve) => setTimeout(resolve, 100));
      return still && sent > 0;
    });
    expect(sent * block.length).toBeLessThan(24 * 1_048_576);
    const rss = process.memoryUsage().rss;
    let head = "";
    client.socket.on("data", (bytes: Buffer) => {
      if (head === "") {
        const end = bytes.indexOf("\r\n\r\n") + 4;
        head = bytes.toString("latin1", 0, end);
        reader.begin(CHUNKED);
        reader.onPayload = (from, start, to) => unzip.write(from.subarray(start, to));
        bytes = bytes.subarray(end);
      }
      reader.feed(bytes, 0);
      if (reader.done) unzip.end();
    });
    client.socket.resume();
    await until(() => received === block.length * blocks, 30_000);
    const expected = new Bun.CryptoHasher("sha256");
    for (let i = 0; i < blocks; i++) expected.update(block);
    expect(digest.digest("hex")).toBe(expected.digest("hex"));
    expect(process.memoryUsage().rss - rss).toBeLessThan(256 * 1_048_576);
    client.close();
    await big.stop();
    await encodersIdle();
  }, 60_000);

  test("ends with its exchange: the client gone, the machine gone, nothing read for too long", async () => {
    let socket: Socket | null = null;
    let closed = false;
    const ends = await startRawUpstream((connection) => {
      socket = connection.socket;
      connection.socket.on("close", () => closed = true);
      connection.socket.write(`${typed}Content-Length: 100000000\r\n\r\n${text}`);
    });
    await compressed("ends", ends.port);
    const ask = async () => {
      socket = null;
      closed = false;
      const client = await RawClient.open(t.port);
      client.send("GET / HTTP/1.1\r\nHost: ends.test\r\nAccept-Encoding: br\r\n\r\n");
      await client.has("Content-Encoding: br");
      await until(() => t.edge.policyCounts.compressions === 1);
      return client;
    };
    const gone = await ask();
    gone.close();
    // A client that has closed its side might still read: that it does not is known once more has been sent to it.
    await until(() => closed || !socket!.write(text));
    await until(() => closed);
    await encodersIdle();
    const cut = await ask();
    socket!.destroy();
    await cut.end();
    expect(parts(cut.bytes).whole).toBe(false);
    cut.close();
    await encodersIdle();
    const stalled = await ask();
    t.edge.deadlines.sweep(performance.now() + LIMITS.responseIdleMsMax + 1_000);
    await stalled.end();
    stalled.close();
    await until(() => closed);
    await encodersIdle();
    await ends.stop();
  });

  test("a client that stops reading after the machine has finished is ended too", async () => {
    const noise = Buffer.from(crypto.getRandomValues(new Uint8Array(6_000_000))).toString("base64");
    const done = await startRawUpstream(({ socket }) => {
      socket.write(`${typed}Content-Length: ${noise.length}\r\n\r\n${noise}`);
    });
    await compressed("done", done.port);
    const client = await RawClient.open(t.port);
    client.socket.pause();
    client.send("GET / HTTP/1.1\r\nHost: done.test\r\nAccept-Encoding: zstd\r\n\r\n");
    await until(() => t.edge.policyCounts.compressions === 1);
    await until(() => connections().some((each) => !each.outbox.empty));
    t.edge.deadlines.sweep(performance.now() + LIMITS.responseIdleMsMax + 1_000);
    await encodersIdle();
    t.edge.deadlines.sweep(performance.now() + LIMITS.responseIdleMsMax + 1_000);
    await until(() => connections().every((each) => each.outbox.empty));
    client.close();
    await done.stop();
  });
});
