/** Bytes in, bytes out: the edge between raw sockets, where it is seen what a well-behaved client or server would hide. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createHash, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import type { ClientConnection } from "./client-connection.ts";
import {
  RawClient,
  type RawUpstream,
  startRawUpstream,
  startTestEdge,
  type TestEdge,
  until,
} from "../edge.fixture.ts";

let t: TestEdge;
const upstreams: RawUpstream[] = [];
const servers: Bun.Server<unknown>[] = [];
let apps = 0;

beforeAll(async () => {
  t = await startTestEdge({
    limits: {
      responseWaitMsMax: 600,
      halfClosedWaitMsMax: 300,
      headWaitMsMax: 600,
      bodyIdleMsMax: 600,
      interimResponsesMax: 3,
      connectWaitMsMax: 1_000,
      tunnelIdleMsMax: 1_000,
    },
  });
});
afterAll(async () => {
  await Promise.all(upstreams.map((upstream) => upstream.stop()));
  await Promise.all(servers.map((server) => server.stop(true)));
  await t.stop();
});

type OnData = Parameters<typeof startRawUpstream>[0];

/** An app of bytes. @returns its host name and its connections */
async function raw(onData: OnData): Promise<{ host: string; upstream: RawUpstream }> {
  const upstream = await startRawUpstream(onData);
  upstreams.push(upstream);
  const name = `raw${apps++}`;
  await t.app(name, upstream.port);
  return { host: `${name}.test`, upstream };
}
/** Answers each complete head with `response`. */
const answering = (response: string): OnData => (connection) => {
  while (connection.text.includes("\r\n\r\n")) {
    connection.text = connection.text.slice(connection.text.indexOf("\r\n\r\n") + 4);
    connection.socket.write(Buffer.from(response, "latin1"));
  }
};
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const get = (host: string, fields = "") => `GET / HTTP/1.1\r\nHost: ${host}\r\n${fields}\r\n`;

async function app(
  fetch: (
    request: Request,
    server: Bun.Server<unknown>,
  ) => Response | Promise<Response | undefined> | undefined,
  websocket?: Bun.WebSocketHandler<undefined>,
) {
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    maxRequestBodySize: 1_000_000_000,
    fetch: fetch as never,
    ...(websocket === undefined ? {} : { websocket }),
  } as never);
  servers.push(server);
  const name = `app${apps++}`;
  await t.app(name, server.port!);
  return `${name}.test`;
}

describe("relay", () => {
  test("keeps connections on both sides", async () => {
    const { host, upstream } = await raw(answering(OK));
    const client = await RawClient.open(t.port);
    for (let i = 1; i <= 3; i++) {
      client.send(get(host));
      await until(() => client.text.split("\r\n\r\nok").length === i + 1);
    }
    expect(upstream.connections.length).toBe(1);
    client.close();
  });

  test("answers pipelined requests in order, over requests split at any byte", async () => {
    const { host } = await raw((connection) => {
      let end;
      while ((end = connection.text.indexOf("\r\n\r\n")) !== -1) {
        const target = connection.text.split(" ")[1]!;
        connection.text = connection.text.slice(end + 4);
        connection.socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${target.length}\r\n\r\n${target}`);
      }
    });
    const client = await RawClient.open(t.port);
    const targets = Array.from({ length: 50 }, (_, i) => `/n${i}`);
    const text = targets.map((target) => `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`).join("");
    for (let at = 0; at < text.length; at += 37) client.send(text.slice(at, at + 37));
    await client.has("/n49");
    const seen = [...client.text.matchAll(/\r\n\r\n(\/n\d+)/g)].map((match) => match[1]!);
    expect(seen).toEqual(targets);
    client.close();
  });

  test("thousands of pipelined refusals do not deepen the stack", async () => {
    const client = await RawClient.open(t.port);
    client.send(get("nobody.test").repeat(5_000));
    await until(() => client.text.split("HTTP/1.1 404").length === 5_001);
    client.close();
  });

  test("carries 20 MB both ways unchanged", async () => {
    const host = await app(async (request) => {
      const body = Buffer.from(await request.arrayBuffer());
      return new Response(body, { headers: { "x-sum": createHash("sha256").update(body).digest("hex") } });
    });
    const sent = randomBytes(20_000_000);
    const sum = createHash("sha256").update(sent).digest("hex");
    for (const body of [sent, new Blob([sent]).stream()]) {
      const response = await fetch(`http://127.0.0.1:${t.port}/`, {
        method: "POST",
        headers: { host },
        body: body as never,
      });
      const got = Buffer.from(await response.arrayBuffer());
      expect(response.headers.get("x-sum")).toBe(sum);
      expect(createHash("sha256").update(got).digest("hex")).toBe(sum);
    }
  });

  test("passes chunks and trailers both ways as they come", async () => {
    const body = "3;x=1\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n";
    const { host } = await raw((connection) => {
      if (!connection.text.endsWith(body)) return;
      connection.socket.write(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${body}`);
    });
    const client = await RawClient.open(t.port);
    client.send(`POST / HTTP/1.1\r\nHost: ${host}\r\nTransfer-Encoding: chunked\r\n\r\n3;x=1\r\nab`);
    client.send("c\r\n0\r\nX-Sum: 7\r\n\r\n");
    const text = await client.has("X-Sum");
    expect(text).toEndWith(body);
    expect(text).toContain("Transfer-Encoding: chunked");
    client.close();
  });

  test("gives an HTTP/1.0 client the payload without chunks, ended by the connection", async () => {
    const { host } = await raw(
      answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
    );
    const client = await RawClient.open(t.port);
    client.send(`GET / HTTP/1.0\r\nHost: ${host}\r\nConnection: keep-alive\r\n\r\n`);
    const text = await client.end();
    expect(text).toEndWith("\r\n\r\nabcde");
    expect(text).not.toContain("chunked");
  });

  test("a response without length ends with the connection", async () => {
    const { host } = await raw((connection) => {
      if (connection.text.includes("\r\n\r\n")) connection.socket.end("HTTP/1.0 200 OK\r\n\r\nto the end");
    });
    const client = await RawClient.open(t.port);
    const text = await client.send(get(host)).end();
    expect(text).toContain("Connection: close");
    expect(text).toEndWith("\r\n\r\nto the end");
  });

  test("HEAD, 204 and 304 keep the connection in step", async () => {
    const { host } = await raw((connection) => {
      let end;
      while ((end = connection.text.indexOf("\r\n\r\n")) !== -1) {
        const [method, target] = connection.text.split(" ");
        connection.text = connection.text.slice(end + 4);
        if (method === "HEAD") connection.socket.write("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n");
        else if (target === "/") connection.socket.write(OK);
        else connection.socket.write(`HTTP/1.1 ${target!.slice(1)} X\r\n\r\n`);
      }
    });
    const client = await RawClient.open(t.port);
    const one = (method: string, target: string) => `${method} ${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
    client.send(one("HEAD", "/") + one("GET", "/204") + one("GET", "/304") + one("GET", "/"));
    const text = await client.has("\r\n\r\nok");
    expect([...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map((match) => match[1])).toEqual([
      "200",
      "204",
      "304",
      "200",
    ]);
    client.close();
  });

  test("passes 100 and 103 on, and not to HTTP/1.0", async () => {
    const interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
    const { host } = await raw(answering(interim + OK));
    const client = await RawClient.open(t.port);
    client.send(`POST / HTTP/1.1\r\nHost: ${host}\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n`);
    const text = await client.has("ok");
    expect(text).toStartWith(interim);
    client.close();
    const old = await RawClient.open(t.port);
    expect(await old.send(`GET / HTTP/1.0\r\nHost: ${host}\r\n\r\n`).end()).toStartWith("HTTP/1.1 200 OK");
  });

  test("hostile requests get their status and reach no machine", async () => {
    const { host, upstream } = await raw(answering(OK));
    const hostile: [string, number][] = [
      [get(host, "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400],
      [get(host, "X : 1\r\n"), 400],
      [get(host, "X: 1\n"), 400],
      [get(host, "X: 1\r\n folded\r\n"), 400],
      [get(host, `Host: ${host}\r\n`), 400],
      [get(host, "Transfer-Encoding: gzip\r\n"), 501],
      [`GET / HTTP/1.1\r\n\r\n`, 400],
      [`GET /${"a".repeat(10_000)} HTTP/1.1\r\nHost: ${host}\r\n\r\n`, 414],
      [get(host, `X: ${"a".repeat(20_000)}\r\n`), 431],
    ];
    for (const [text, status] of hostile) {
      const client = await RawClient.open(t.port);
      const answer = await client.send(text + get(host)).end();
      expect(answer).toStartWith(`HTTP/1.1 ${status} `);
      expect(answer.split("HTTP/1.1 ").length).toBe(2);
      client.close();
    }
    expect(upstream.connections.length).toBe(0);
  });

  test("a bad chunk after a good head ends the exchange with 400", async () => {
    const { host, upstream } = await raw(() => {});
    const client = await RawClient.open(t.port);
    client.send(`POST / HTTP/1.1\r\nHost: ${host}\r\nTransfer-Encoding: chunked\r\n\r\n`);
    await until(() => upstream.connections.length === 1);
    expect(await client.send("zz\r\n").end()).toStartWith("HTTP/1.1 400");
    await until(() => upstream.connections[0]!.closed);
  });

  for (
    const [name, response] of [
      ["two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"],
      ["no HTTP", "SSH-2.0-OpenSSH_9\r\n\r\n"],
      ["a bare LF", "HTTP/1.1 200 OK\nContent-Length: 0\n\n"],
      ["101 unasked", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"],
      ["too many 1xx", "HTTP/1.1 103 Hints\r\n\r\n".repeat(5)],
    ] as const
  ) {
    test(`a response with ${name} becomes 502, and its connection is not used again`, async () => {
      const { host, upstream } = await raw(answering(response));
      for (let i = 1; i <= 2; i++) {
        const client = await RawClient.open(t.port);
        client.send(get(host));
        expect(await client.has("edge.bad_response")).toContain("HTTP/1.1 502 Bad Gateway");
        await until(() => upstream.connections.length === i && upstream.connections[i - 1]!.closed);
        client.close();
      }
    });
  }

  test("bytes after a response end that connection and reach nobody", async () => {
    const { host, upstream } = await raw(answering(OK + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"));
    const client = await RawClient.open(t.port);
    client.send(get(host));
    await client.has("ok");
    await until(() => upstream.connections[0]!.closed);
    client.send(get(host));
    await until(() => client.text.split("\r\n\r\nok").length === 3);
    expect(client.text).not.toContain("evil");
    client.close();
  });

  test("a kept connection that the machine closed is replaced without an error", async () => {
    const { host, upstream } = await raw((connection, index) => {
      if (index === 0 && connection.text.split("\r\n\r\n").length === 3) connection.socket.resetAndDestroy();
      else if (connection.text.includes("\r\n\r\n")) connection.socket.write(OK);
    });
    const client = await RawClient.open(t.port);
    client.send(get(host));
    await client.has("ok");
    client.send(get(host));
    await until(() => client.text.split("\r\n\r\nok").length === 3);
    expect(upstream.connections.length).toBe(2);
    client.close();
  });

  test("a POST that may have been seen is not sent again", async () => {
    const { host, upstream } = await raw((connection) => {
      if (connection.text.split("\r\n\r\n").length === 3) connection.socket.resetAndDestroy();
      else if (connection.text.includes("\r\n\r\n")) connection.socket.write(OK);
    });
    const client = await RawClient.open(t.port);
    client.send(get(host));
    await client.has("ok");
    client.send(`POST / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 0\r\n\r\n`);
    expect(await client.has("edge.machine_reset")).toContain("HTTP/1.1 502");
    expect(upstream.connections.length).toBe(1);
    client.close();
  });

  test("a response cut short is cut short for the client too", async () => {
    const { host } = await raw((connection) => {
      connection.socket.end("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    });
    const client = await RawClient.open(t.port);
    expect(await client.send(get(host)).end()).toEndWith("\r\n\r\nhalf");
  });

  test("a machine that says nothing is a 504 with its code", async () => {
    const { host, upstream } = await raw(() => {});
    const client = await RawClient.open(t.port);
    client.send(get(host));
    expect(await client.has("edge.machine_timeout")).toStartWith("HTTP/1.1 504");
    await until(() => upstream.connections[0]!.closed);
    client.close();
  });

  test("a client that goes away takes its upstream request with it", async () => {
    const { host, upstream } = await raw(() => {});
    const client = await RawClient.open(t.port);
    client.send(get(host));
    await until(() => upstream.connections.length === 1 && upstream.connections[0]!.text !== "");
    client.close();
    await until(() => upstream.connections[0]!.closed);
  });

  test("a client that only closed its sending side gets its response", async () => {
    const { host } = await raw(answering(OK));
    const client = await RawClient.open(t.port);
    client.socket.end(get(host));
    expect(await client.end()).toEndWith("ok");
  });

  test("a client that closed its sending side gets all of a response that began in time", async () => {
    const { host, upstream } = await raw(() => {});
    const client = await RawClient.open(t.port);
    client.socket.end(get(host));
    await until(() => upstream.connections[0]?.text.endsWith("\r\n\r\n") ?? false);
    const connection = [...t.edge.relay.clients as Set<ClientConnection>].at(-1)!;
    await until(() => connection.deadlineMs < Infinity);
    const machine = upstream.connections[0]!.socket;
    machine.write("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf");
    await client.has("half");
    t.edge.deadlines.sweep(performance.now() + 1_000);
    machine.write("rest");
    expect(await client.end()).toEndWith("halfrest");
  });

  test("a head that does not come is 408, a body that stops too", async () => {
    const { host } = await raw(() => {});
    const slow = await RawClient.open(t.port);
    expect(await slow.send("GET / HT").end()).toStartWith("HTTP/1.1 408");
    const stuck = await RawClient.open(t.port);
    stuck.send(`POST / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 10\r\n\r\nabc`);
    expect(await stuck.end()).toStartWith("HTTP/1.1 408");
  });

  test("a body that trickles is refused, and one that waits for the machine is not", async () => {
    const paced = await startTestEdge({ limits: { bodyBytesPerSecondMin: 1_000_000, bodyGraceMsMax: 50 } });
    const upstream = await startRawUpstream(() => {});
    await paced.app("paced", upstream.port);
    const client = await RawClient.open(paced.port);
    client.send("POST / HTTP/1.1\r\nHost: paced.test\r\nContent-Length: 1000000\r\n\r\n");
    await until(() => upstream.connections.length === 1);
    await until(() => {
      if (!client.ended) client.send("x");
      return client.ended;
    });
    expect(client.text).toStartWith("HTTP/1.1 408");
    await upstream.stop();
    await paced.stop();
  });

  test("a response that is not taken in time is cut, and the log says whose fault it was", async () => {
    const block = Buffer.alloc(1_000_000, 97);
    const { host } = await raw((connection) => {
      connection.socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n`);
      for (let i = 0; i < 100; i++) connection.socket.write(block);
    });
    const client = await RawClient.open(t.port);
    client.socket.pause();
    client.send(get(host, "User-Agent: sleeper\r\n"));
    await until(() =>
      [...t.edge.relay.clients as Set<ClientConnection>].some((each) => each.outbox.bytes > 0)
    );
    t.edge.deadlines.sweep(performance.now() + 1_000_000);
    await until(() => readFileSync(t.logFile, "utf8").includes("sleeper"));
    const line = readFileSync(t.logFile, "utf8").split("\n").find((each) => each.includes("sleeper"))!;
    expect(JSON.parse(line)).toMatchObject({ status: 200, code: "edge.client_too_slow" });
    client.close();
  });

  test("an exchange ends at its total limit, however lively it is", async () => {
    const brief = await startTestEdge({ limits: { exchangeMsMax: 200 } });
    const upstream = await startRawUpstream((connection) => {
      connection.socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n`);
      const timer = setInterval(() => connection.socket.write("x"), 10);
      connection.socket.on("close", () => clearInterval(timer));
    });
    await brief.app("brief", upstream.port);
    const client = await RawClient.open(brief.port);
    client.send(get("brief.test"));
    expect(await client.end()).toContain("\r\n\r\nx");
    await upstream.stop();
    await brief.stop();
  });

  test("events of a stream arrive as they are sent", async () => {
    let push: (text: string) => void = () => {};
    const host = await app(() =>
      new Response(
        new ReadableStream({
          start(controller) {
            push = (text) => controller.enqueue(new TextEncoder().encode(text));
            push("data: 1\n\n");
          },
        }),
        { headers: { "content-type": "text/event-stream" } },
      )
    );
    const client = await RawClient.open(t.port);
    client.send(get(host));
    await client.has("data: 1\n\n");
    push("data: 2\n\n");
    await client.has("data: 2\n\n");
    client.close();
  });

  test("WebSockets are tunnelled", async () => {
    const host = await app(
      (request, server) =>
        server.upgrade(request, { data: undefined }) ? undefined : new Response("no", { status: 400 }),
      { message: (socket, message) => void socket.send(`echo ${message}`) },
    );
    const socket = new WebSocket(`ws://127.0.0.1:${t.port}/`, { headers: { host } } as never);
    const got: string[] = [];
    await new Promise<void>((resolve, reject) => {
      socket.onopen = () => socket.send("one");
      socket.onerror = () => reject(new Error("WebSocket failed"));
      socket.onmessage = (event) => {
        got.push(String(event.data));
        if (got.length === 1) socket.send("x".repeat(200_000));
        else resolve();
      };
    });
    expect(got[0]).toBe("echo one");
    expect(got[1]!.length).toBe(200_005);
    const closed = new Promise((resolve) => socket.onclose = resolve);
    socket.close();
    await closed;
  });

  test("a tunnel is not idle while only the client speaks", async () => {
    const { host, upstream } = await raw((connection) => {
      if (connection.text.endsWith("\r\n\r\n")) {
        connection.socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\n\r\n");
      }
    });
    const client = await RawClient.open(t.port);
    client.send(get(host, "Connection: Upgrade\r\nUpgrade: echo\r\n"));
    await client.has("101 Switching");
    // One and a half times the limit, in steps far below it: time itself is what is tested.
    for (let i = 0; i < 15; i++) {
      client.send(".");
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    client.send("last");
    await until(() => upstream.connections[0]!.text.endsWith("last") || client.ended);
    expect(upstream.connections[0]!.text).toEndWith("last");
    client.close();
  });

  test("a tunnel passes each side's end on by itself", async () => {
    const { host, upstream } = await raw((connection) => {
      if (connection.text.endsWith("\r\n\r\n")) {
        connection.socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\n\r\n");
      }
    });
    const client = await RawClient.open(t.port);
    client.send(get(host, "Connection: Upgrade\r\nUpgrade: echo\r\n"));
    await client.has("101 Switching");
    const [connection] = upstream.connections;
    client.socket.end("last words");
    await until(() => connection!.text.endsWith("last words"));
    await client.end();
    await until(() => connection!.closed);
    expect(t.edge.relay.clients.size).toBeGreaterThanOrEqual(0);
  });

  test("an upgrade that is declined is an ordinary response", async () => {
    const { host } = await raw(answering(OK));
    const client = await RawClient.open(t.port);
    client.send(get(host, "Connection: Upgrade\r\nUpgrade: echo\r\n") + get(host));
    await until(() => client.text.split("\r\n\r\nok").length === 3);
    client.close();
  });

  test("a slow reader holds back the machine, not the edge's memory", async () => {
    let sent = 0;
    const total = 200_000_000;
    const block = Buffer.alloc(1_000_000, 97);
    const { host, upstream } = await raw((connection) => {
      if (sent > 0) return;
      sent = 1;
      connection.socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${total}\r\n\r\n`);
      let left = total;
      const more = () => {
        while (left > 0) {
          left -= block.length;
          sent += block.length;
          if (!connection.socket.write(block)) return;
        }
      };
      connection.socket.on("drain", more);
      more();
    });
    const client = await RawClient.open(t.port);
    client.socket.pause();
    client.send(get(host));
    await until(() => upstream.connections.length === 1);
    let before = -1;
    await until(async () => {
      before = sent;
      await new Promise((resolve) => setTimeout(resolve, 200));
      return sent > 1 && sent === before;
    });
    // What lies in kernel buffers on the way is not the edge's; a full body would be 200 MB.
    expect(sent).toBeLessThan(40_000_000);
    const held = [...t.edge.relay.clients as Set<ClientConnection>].reduce(
      (sum, each) => sum + each.outbox.bytes,
      0,
    );
    expect(held).toBeGreaterThan(0);
    expect(held).toBeLessThanOrEqual(262_144);
    let got = 0;
    client.socket.removeAllListeners("data");
    client.socket.on("data", (chunk: Buffer) => got += chunk.length);
    client.socket.resume();
    await until(() => got >= total, 20_000);
    client.close();
  }, 30_000);

  test("a slow machine holds back the client's body", async () => {
    const { host, upstream } = await raw((connection) => connection.socket.pause());
    const client = await RawClient.open(t.port);
    client.send(`POST / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 100000000\r\n\r\n`);
    await until(() => upstream.connections.length === 1);
    const block = Buffer.alloc(1_000_000, 98);
    let sent = 0;
    while (sent < 60 && client.socket.write(block)) sent++;
    await until(() => client.socket.writableLength > 0);
    expect(sent).toBeLessThan(60);
    client.close();
  });

  test("a machine that is slow to read is not the client's timeout", async () => {
    const size = 30_000_000;
    let seen = 0;
    const { host, upstream } = await raw((connection) => {
      if (seen === 0) connection.socket.pause();
      seen += connection.text.length;
      connection.text = "";
      if (seen > size) connection.socket.write(OK);
    });
    const client = await RawClient.open(t.port);
    client.send(`POST / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: ${size}\r\n\r\n`);
    await until(() => upstream.connections.length === 1 && seen > 0);
    client.socket.write(Buffer.alloc(size, 99));
    const connection = [...t.edge.relay.clients as Set<ClientConnection>].at(-1)!;
    await until(async () => {
      const before = connection.deadlineMs;
      await new Promise((resolve) => setTimeout(resolve, 100));
      return connection.deadlineMs === before;
    });
    t.edge.deadlines.sweep(performance.now() + 1_000);
    upstream.connections[0]!.socket.resume();
    expect(await client.has("\r\n\r\n")).toStartWith("HTTP/1.1 200");
    client.close();
  });

  test("the early answer of a machine ends a request that is still being sent", async () => {
    const { host } = await raw((connection) => {
      if (connection.text.includes("\r\n\r\n")) {
        connection.socket.write("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig");
      }
    });
    const client = await RawClient.open(t.port);
    client.send(`POST / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 1000000\r\n\r\nabc`);
    const text = await client.end();
    expect(text).toEndWith("big");
    expect(text).toContain("Connection: close");
  });
});
