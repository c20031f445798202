/** HTTP/2 towards clients, with HTTP/1.1 machines behind: a real client (node:http2) and one of single frames. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from "node:http2";
import type { AddressInfo } from "node:net";
import { startRawUpstream, until } from "../edge.fixture.ts";
import { FrameClient, type Http2Edge, pseudo, startHttp2Edge } from "./http2.fixture.ts";
import { SETTING_INITIAL_WINDOW_SIZE } from "./protocol.ts";

interface Got {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: Buffer;
  trailers: Record<string, unknown>;
}

function got(stream: ClientHttp2Stream): Promise<Got> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let headers: Got["headers"] = {};
    let trailers: Record<string, unknown> = {};
    stream.on("response", (fields) => headers = fields as Got["headers"]);
    stream.on("trailers", (fields) => trailers = { ...fields });
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("end", () => {
      resolve({ status: Number(headers[":status"]), headers, body: Buffer.concat(chunks), trailers });
    });
    stream.on("error", reject);
  });
}

let app: Server;
let edge: Http2Edge;
let session: ClientHttp2Session;
let handler: (request: IncomingMessage, response: ServerResponse) => void = () => {};

beforeAll(async () => {
  app = createServer((request, response) => handler(request, response));
  await new Promise<void>((resolve) => app.listen(0, "127.0.0.1", resolve));
  edge = await startHttp2Edge([(app.address() as AddressInfo).port]);
  session = connect(`http://127.0.0.1:${edge.port}`);
  session.on("error", () => {});
});
afterAll(async () => {
  session.destroy();
  await edge.stop();
  app.closeAllConnections();
  app.close();
});

const ask = (fields: Record<string, string> = {}, body?: Buffer | string) => {
  const stream = session.request(
    { ":path": "/", ":authority": "app.test", ...fields },
    { endStream: body === undefined },
  );
  if (body !== undefined) stream.end(body);
  return stream;
};

describe("a client of HTTP/2", () => {
  test("gets an HTTP/1.1 machine's response, its fields in lower case and without those of the connection", async () => {
    let seen: string[] = [];
    handler = (request, response) => {
      seen = request.rawHeaders;
      response.writeHead(201, { "X-App": "yes", "Set-Cookie": ["a=1", "b=2"], "Keep-Alive": "timeout=5" });
      response.end(`${request.method} ${request.url}`);
    };
    const answer = await got(ask({ ":path": "/a?b=c", "x-one": "1", cookie: "k=v" }));
    expect(answer.status).toBe(201);
    expect(answer.body.toString()).toBe("GET /a?b=c");
    expect(answer.headers["x-app"]).toBe("yes");
    expect(answer.headers["set-cookie"]).toEqual(["a=1", "b=2"]);
    for (const name of ["connection", "keep-alive", "transfer-encoding"]) {
      expect(answer.headers).not.toHaveProperty(name);
    }
    expect(answer.headers["fly-request-id"]).toBeString();
    const names = seen.filter((_, i) => i % 2 === 0).map((name) => name.toLowerCase());
    expect(names.slice(0, 3)).toEqual(["host", "x-one", "cookie"]);
    expect(names.some((name) => name.startsWith(":"))).toBe(false);
    expect(seen[1]).toBe("app.test");
  });

  test("gets many answers at once, each to its own question", async () => {
    handler = (request, response) => {
      setTimeout(() => response.end(request.url), Math.random() * 5);
    };
    const answers = await Promise.all(
      Array.from({ length: 300 }, (_, i) => got(ask({ ":path": `/${i}` }))),
    );
    expect(answers.map((answer) => answer.body.toString())).toEqual(answers.map((_, i) => `/${i}`));
  });

  test("sends a body with a length, one without, and none; chunks are the machine's alone", async () => {
    handler = (request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        const { "content-length": length, "transfer-encoding": coding } = request.headers;
        response.end(`${length} ${coding} ${Buffer.concat(chunks)}`);
      });
    };
    const body = async (fields: Record<string, string>, sent?: string) =>
      (await got(ask({ ":method": "POST", ...fields }, sent))).body.toString();
    expect(await body({ "content-length": "5" }, "hello")).toBe("5 undefined hello");
    expect(await body({}, "hello")).toBe("undefined chunked hello");
    expect(await body({})).toBe("0 undefined ");
  });

  test("sends and gets a large body whole", async () => {
    handler = (request, response) => void request.pipe(response);
    const sent = Buffer.alloc(5_000_000, 0).map((_, i) => i % 251);
    const answer = await got(ask({ ":method": "POST" }, Buffer.from(sent)));
    expect(answer.body.equals(sent)).toBe(true);
  });

  test("sends and gets trailers", async () => {
    let seen: Record<string, unknown> = {};
    handler = (request, response) => {
      request.resume();
      request.on("end", () => {
        seen = request.trailers;
        response.writeHead(200, { Trailer: "x-sum" });
        response.write("body");
        response.addTrailers({ "X-Sum": "42" });
        response.end();
      });
    };
    const stream = session.request(
      { ":path": "/", ":method": "POST", ":authority": "app.test" },
      { waitForTrailers: true } as object,
    );
    stream.on("wantTrailers", () => stream.sendTrailers({ "x-check": "17" }));
    stream.end("body");
    const answer = await got(stream);
    expect(seen["x-check"]).toBe("17");
    expect(answer.trailers["x-sum"]).toBe("42");
    expect(answer.body.toString()).toBe("body");
  });

  test("gets no body to HEAD, 204 and 304", async () => {
    handler = (request, response) => {
      response.writeHead(Number(request.url!.slice(1)), {
        "Content-Length": request.method === "HEAD" ? 10 : 0,
      });
      response.end();
    };
    const head = await got(ask({ ":method": "HEAD", ":path": "/200" }));
    expect([head.status, head.headers["content-length"], head.body.length]).toEqual([200, "10", 0]);
    for (const status of [204, 304]) {
      const answer = await got(ask({ ":path": `/${status}` }));
      expect([answer.status, answer.body.length]).toEqual([status, 0]);
    }
  });

  test("gets interim responses, and may wait for 100", async () => {
    const machine = await startRawUpstream((connection) => {
      if (connection.text.endsWith("\r\n\r\n")) {
        connection.socket.write(
          "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n",
        );
      } else if (connection.text.includes("body")) {
        connection.socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
      }
    });
    const own = await startHttp2Edge([machine.port]);
    const client = await FrameClient.open(own.port);
    const id = client.request(
      [...pseudo("POST"), ["content-length", "4"], ["expect", "100-continue"]],
      false,
    );
    await until(() => client.status(id) === "100");
    client.data(id, "body", true);
    const answer = await client.over(id);
    expect(answer.heads.map((head) => head[0]![1])).toEqual(["103", "100", "200"]);
    expect(answer.heads[0]).toContainEqual(["link", "</a.css>"]);
    client.close();
    await own.stop();
    await machine.stop();
  });

  test("gets error pages of the edge, and its other streams go on", async () => {
    handler = (request, response) => {
      if (request.url === "/die") request.socket.destroy();
      else response.end("fine");
    };
    const [dead, fine] = await Promise.all([got(ask({ ":path": "/die" })), got(ask())]);
    expect([dead.status, fine.status]).toEqual([502, 200]);
    expect(dead.headers["fly-error-code"]).toBe("PC03");
  });

  test("sees a response that was cut short as a reset stream", async () => {
    handler = (_request, response) => {
      response.writeHead(200, { "Content-Length": "100" });
      response.write("half");
      setTimeout(() => response.destroy(), 5);
    };
    const stream = ask();
    stream.resume();
    await new Promise((resolve) => stream.on("error", resolve));
    expect(stream.rstCode).toBe(constants.NGHTTP2_INTERNAL_ERROR);
  });

  test("that resets a stream cancels the machine's work, is 499 in the log, and goes on", async () => {
    let gone = false;
    handler = (request, response) => {
      if (request.url === "/") return void response.end("fine");
      request.socket.on("close", () => gone = true);
      stream.close(constants.NGHTTP2_CANCEL);
    };
    const stream = ask({ ":path": "/slow" });
    stream.on("error", () => {});
    await until(() => gone);
    expect((await got(ask())).body.toString()).toBe("fine");
    const lines = async () => (await Bun.file(edge.logFile).text()).split("\n");
    await until(async () => (await lines()).some((line) => line.includes('"/slow"') && line.includes("499")));
  });
});

describe("over TLS", () => {
  test("curl agrees on HTTP/2 by ALPN, sends a body and follows many responses on one connection", async () => {
    handler = (request, response) => void request.pipe(response);
    const urls = Array.from({ length: 20 }, (_, i) => `https://127.0.0.1:${edge.tlsPort}/${i}`);
    const child = Bun.spawn(
      ["curl", "-sk", "--http2", "--data", "hello ", "-w", "%{http_version} %{num_connects}\n", ...urls],
      { stdout: "pipe" },
    );
    const lines = (await new Response(child.stdout).text()).trim().split("\n");
    expect(lines).toEqual(urls.map((_, i) => `hello 2 ${i === 0 ? 1 : 0}`));
  });

  test("a machine hears that its client used TLS", async () => {
    handler = (request, response) => response.end(request.headers["x-forwarded-proto"]);
    const secure = connect(`https://127.0.0.1:${edge.tlsPort}`, { rejectUnauthorized: false });
    const answer = await got(secure.request({ ":path": "/", ":authority": "app.test" }));
    expect(answer.body.toString()).toBe("https");
    secure.destroy();
  });

  test("sends and gets a large body whole", async () => {
    handler = (request, response) => void request.pipe(response);
    const sent = Buffer.from(Buffer.alloc(5_000_000).map((_, i) => i % 251));
    const secure = connect(`https://127.0.0.1:${edge.tlsPort}`, { rejectUnauthorized: false });
    const stream = secure.request({ ":method": "POST", ":path": "/", ":authority": "app.test" });
    stream.end(sent);
    expect((await got(stream)).body.equals(sent)).toBe(true);
    secure.destroy();
  });
});

describe("flow control", () => {
  const STUCK_MS = 150;
  /** Until nothing moves any more. */
  async function stuck(read: () => number): Promise<number> {
    let before = -1;
    await until(async () => {
      const now = read();
      const still = now === before && now > 0;
      before = now;
      await new Promise((resolve) => setTimeout(resolve, STUCK_MS));
      return still;
    });
    return before;
  }

  test("a machine that does not read holds its client to one window, and other streams go on", async () => {
    let stuckSocket = false;
    const machine = await startRawUpstream((connection) => {
      if (connection.text.includes("POST")) {
        connection.socket.pause();
        stuckSocket = true;
      } else connection.socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    const own = await startHttp2Edge([machine.port]);
    const client = connect(`http://127.0.0.1:${own.port}`);
    const upload = client.request({ ":method": "POST", ":path": "/", ":authority": "app.test" });
    upload.on("error", () => {});
    let sent = 0;
    const piece = Buffer.alloc(65_536);
    const pump = () => upload.write(piece, () => (sent += piece.length) < 200_000_000 && pump());
    pump();
    await until(() => stuckSocket);
    await stuck(() => sent);
    // Kernel buffers on the way to the machine take some megabytes; a client that nobody holds would be through.
    expect(sent).toBeLessThan(30_000_000);
    const other = await got(client.request({ ":path": "/", ":authority": "app.test" }));
    expect(other.body.toString()).toBe("ok");
    client.destroy();
    await own.stop();
    await machine.stop();
  });

  test("a client without a window holds its machine, and gets all once it opens one", async () => {
    let sent = 0;
    const size = 50_000_000;
    const machine = await startRawUpstream((connection) => {
      connection.socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
      const piece = Buffer.alloc(100_000);
      const pump = () => {
        while (sent < size) {
          sent += piece.length;
          if (!connection.socket.write(piece)) return connection.socket.once("drain", pump);
        }
      };
      pump();
    });
    const own = await startHttp2Edge([machine.port]);
    const client = await FrameClient.open(own.port, { [SETTING_INITIAL_WINDOW_SIZE]: 1_000 });
    const id = client.request(pseudo());
    await until(() => client.answer(id).body.length === 1_000);
    expect(await stuck(() => sent)).toBeLessThan(20_000_000);
    client.widen(id, 500).widen(0, 5_000_000);
    await until(() => client.answer(id).body.length === 1_500);
    client.close();
    await own.stop();
    await machine.stop();
  });
});

describe("a body that does not come", () => {
  const machine = () =>
    startRawUpstream((connection) => {
      if (!connection.text.includes("\r\n\r\n")) connection.socket.end();
    });

  test("is 408 after a while, and its machine is let go", async () => {
    const silent = await machine();
    const own = await startHttp2Edge([silent.port], { limits: { bodyIdleMsMax: 200 } });
    const client = await FrameClient.open(own.port);
    const id = client.request([...pseudo("POST"), ["content-length", "10"]], false);
    client.data(id, "begin");
    await client.over(id);
    expect(client.status(id)).toBe("408");
    await until(() => silent.connections.every(({ closed }) => closed));
    client.close();
    await own.stop();
    await silent.stop();
  });

  test("or trickles, is 408 too", async () => {
    const patient = await machine();
    const limits = { bodyGraceMsMax: 200, bodyBytesPerSecondMin: 10_000 };
    const own = await startHttp2Edge([patient.port], { limits });
    const client = await FrameClient.open(own.port);
    const id = client.request([...pseudo("POST"), ["content-length", "100000"]], false);
    await until(() => {
      client.data(id, "x");
      return client.answer(id).ended;
    });
    expect(client.status(id)).toBe("408");
    client.close();
    await own.stop();
    await patient.stop();
  });
});

test("a draining edge says so, answers what was under way, and closes", async () => {
  const pending: ServerResponse[] = [];
  const slow = createServer((_request, response) => void pending.push(response));
  await new Promise<void>((resolve) => slow.listen(0, "127.0.0.1", resolve));
  const own = await startHttp2Edge([(slow.address() as AddressInfo).port]);
  const client = await FrameClient.open(own.port);
  const id = client.request(pseudo());
  await until(() => pending.length === 1);
  const stopped = own.edge.stop(5_000);
  await until(() => client.goneAway === 0);
  pending[0]!.end("late");
  const answer = await client.over(id);
  expect(answer.body.toString()).toBe("late");
  await client.end();
  await stopped;
  await own.stop();
  slow.close();
});
