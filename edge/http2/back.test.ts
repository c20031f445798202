/** HTTP/2 towards machines (`h2_backend`): real servers, clients of both versions, and machines that misbehave. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  connect,
  constants,
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from "node:http2";
import { type AddressInfo, createServer as createTcpServer, type Server, type Socket } from "node:net";
import { RawClient, startRawUpstream, until } from "../edge.fixture.ts";
import {
  block,
  frame,
  FrameClient,
  type Http2Edge,
  number,
  pseudo,
  settings,
  startHttp2Edge,
} from "./http2.fixture.ts";
import {
  DATA,
  END_HEADERS,
  END_STREAM,
  GOAWAY,
  HEADERS,
  PREFACE,
  REFUSED_STREAM,
  RST_STREAM,
} from "./protocol.ts";

let machine: Http2Server;
let edge: Http2Edge;
let sessions = 0;
let handler: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void = () => {};

beforeAll(async () => {
  machine = createServer();
  machine.on("session", () => sessions++);
  machine.on("stream", (stream, headers) => {
    stream.on("error", () => {});
    handler(stream as ServerHttp2Stream, headers);
  });
  await new Promise<void>((resolve) => machine.listen(0, "127.0.0.1", resolve));
  edge = await startHttp2Edge([(machine.address() as AddressInfo).port], { h2Backend: true });
});
afterAll(async () => {
  await edge.stop();
  machine.close();
});

describe("a machine of HTTP/2", () => {
  test("answers a client of HTTP/2, and hears who asks", async () => {
    let heard: IncomingHttpHeaders = {};
    handler = (stream, headers) => {
      heard = headers;
      stream.respond({ ":status": 201, "x-app": "yes", "set-cookie": ["a=1", "b=2"] });
      stream.end("hello");
    };
    const client = await FrameClient.open(edge.port);
    const id = client.request([...pseudo("GET", "/a?b"), ["x-one", "1"], ["cookie", "k=v"]]);
    const answer = await client.over(id);
    expect(answer.body.toString()).toBe("hello");
    expect(client.status(id)).toBe("201");
    expect(answer.heads[0]!.filter(([name]) => name === "set-cookie")).toHaveLength(2);
    expect(heard).toMatchObject({
      ":method": "GET",
      ":scheme": "http",
      ":authority": "app.test",
      ":path": "/a?b",
      "x-one": "1",
      cookie: "k=v",
      te: "trailers",
      "fly-client-ip": "127.0.0.1",
    });
    for (const name of ["host", "connection", "transfer-encoding"]) expect(heard).not.toHaveProperty(name);
    client.close();
  });

  test("answers a client of HTTP/1.1, in chunks where it names no length, and with trailers", async () => {
    handler = (stream) => {
      const chunks: Buffer[] = [];
      stream.on("data", (chunk: Buffer) => chunks.push(chunk));
      stream.on("end", () => {
        stream.respond({ ":status": 200 }, { waitForTrailers: true });
        stream.on("wantTrailers", () => stream.sendTrailers({ "x-sum": "42" }));
        stream.end(Buffer.concat(chunks));
      });
    };
    const client = await RawClient.open(edge.port);
    client.send(
      "POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    );
    const text = await client.has("x-sum: 42\r\n\r\n");
    expect(text).toStartWith("HTTP/1.1 200 OK\r\n");
    expect(text).toContain("transfer-encoding: chunked\r\n");
    expect(text).toContain("\r\n\r\n5\r\nabcde\r\n0\r\nx-sum: 42\r\n\r\n");
    client.send("GET / HTTP/1.1\r\nHost: app.test\r\n\r\n");
    await until(() => client.text.split("HTTP/1.1 200").length === 3);
    client.close();
  });

  test("carries many requests on one connection", async () => {
    const before = sessions;
    handler = (stream, headers) => {
      setTimeout(() => {
        stream.respond({ ":status": 200 });
        stream.end(headers[":path"]);
      }, Math.random() * 5);
    };
    const client = await FrameClient.open(edge.port);
    const ids = Array.from({ length: 90 }, (_, i) => client.request(pseudo("GET", `/${i}`)));
    const bodies = await Promise.all(ids.map(async (id) => (await client.over(id)).body.toString()));
    expect(bodies).toEqual(ids.map((_, i) => `/${i}`));
    expect(sessions - before).toBeLessThanOrEqual(1);
    client.close();
  });

  test("sends and gets a large body whole, with a length and without", async () => {
    handler = (stream, headers) => {
      const length = headers["content-length"];
      stream.respond(
        length === undefined ? { ":status": 200 } : { ":status": 200, "content-length": length },
      );
      stream.pipe(stream);
    };
    const sent = Buffer.alloc(3_000_000).map((_, i) => i % 251);
    const client = connect(`http://127.0.0.1:${edge.port}`);
    for (const fields of [{}, { "content-length": String(sent.length) }]) {
      const stream = client.request({ ":method": "POST", ":path": "/", ":authority": "app.test", ...fields });
      const chunks: Buffer[] = [];
      stream.on("data", (chunk: Buffer) => chunks.push(chunk));
      stream.end(sent);
      await new Promise((resolve, reject) => stream.on("end", resolve).on("error", reject));
      expect(Buffer.concat(chunks).equals(Buffer.from(sent))).toBe(true);
    }
    client.destroy();
  });

  test("gives no body to HEAD and 204, and its own early answer ends an upload", async () => {
    handler = (stream, headers) => {
      if (headers[":method"] === "POST") {
        stream.respond({ ":status": 413 });
        stream.end("too large");
      } else {stream.respond({ ":status": headers[":method"] === "HEAD" ? 200 : 204, "x-a": "b" }, {
          endStream: true,
        });}
    };
    const client = await FrameClient.open(edge.port);
    for (const [method, status] of [["HEAD", "200"], ["GET", "204"]] as const) {
      const id = client.request(pseudo(method));
      expect((await client.over(id)).body.length).toBe(0);
      expect(client.status(id)).toBe(status);
    }
    const id = client.request(pseudo("POST"), false);
    client.data(id, "begin");
    expect((await client.over(id)).body.toString()).toBe("too large");
    client.close();
  });

  test("that resets a stream is 502, cut after its head, and its other streams go on", async () => {
    handler = (stream, headers) => {
      if (headers[":path"] === "/begun") {
        stream.respond({ ":status": 200 });
        stream.write("half");
      }
      if (headers[":path"] === "/fine") {
        stream.respond({ ":status": 200 });
        stream.end("fine");
      } else setTimeout(() => stream.destroy(new Error("out of order")), 5);
    };
    const client = await FrameClient.open(edge.port);
    const [before, begun, fine] = ["/before", "/begun", "/fine"].map((path) =>
      client.request(pseudo("GET", path))
    );
    expect((await client.over(fine!)).body.toString()).toBe("fine");
    await client.over(before!);
    expect(client.status(before!)).toBe("502");
    expect((await client.over(begun!)).reset).toBe(constants.NGHTTP2_INTERNAL_ERROR);
    client.close();
  });

  test("hears that its client has gone", async () => {
    let code = -1;
    handler = (stream) => void stream.on("close", () => code = stream.rstCode ?? -2);
    const client = await FrameClient.open(edge.port);
    const id = client.request(pseudo());
    await until(() => edge.edge.relay.clients.size > 0);
    const asked = new Promise<void>((resolve) => {
      const old = handler;
      handler = (stream, headers) => {
        old(stream, headers);
        resolve();
      };
    });
    client.request(pseudo());
    await asked;
    client.reset(id + 2);
    await until(() => code === constants.NGHTTP2_CANCEL);
    client.close();
  });

  test("that does not read holds its client to one window", async () => {
    handler = (stream) => void stream.pause();
    const client = connect(`http://127.0.0.1:${edge.port}`);
    const upload = client.request({ ":method": "POST", ":path": "/", ":authority": "app.test" });
    upload.on("error", () => {});
    let sent = 0, before = -1;
    const piece = Buffer.alloc(65_536);
    const pump = () => upload.write(piece, () => (sent += piece.length) < 50_000_000 && pump());
    pump();
    await until(async () => {
      const still = sent === before && sent > 0;
      before = sent;
      await new Promise((resolve) => setTimeout(resolve, 150));
      return still;
    });
    expect(sent).toBeLessThan(10_000_000);
    client.destroy();
  });
});

/** A machine of single frames: `answer` gets each whole read of a connection. */
async function frameMachine(
  answer: (socket: Socket, connection: number) => void,
): Promise<Server & { port: number }> {
  let connections = 0;
  const server = createTcpServer((socket) => {
    const connection = connections++;
    let begun = false;
    socket.on("error", () => {});
    socket.on("data", (chunk: Buffer) => {
      if (!begun) {
        expect(chunk.toString("latin1", 0, PREFACE.length)).toBe(PREFACE);
        begun = true;
        socket.write(settings());
      }
      if (chunk.includes(block([["te", "trailers"]]).subarray(4)) || chunk.length > 100) {
        answer(socket, connection);
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return Object.assign(server, { port: (server.address() as AddressInfo).port });
}

const OK = block([[":status", "200"]]);
const goAway = (last: number) => frame(GOAWAY, 0, 0, Buffer.concat([number(last), number(0)]));

describe("a machine that misbehaves:", () => {
  async function askOnce(server: { port: number }, method = "GET") {
    const own = await startHttp2Edge([server.port], { h2Backend: true, holdWaitMsMax: 300 });
    const client = await FrameClient.open(own.port);
    const id = client.request(pseudo(method));
    const answer = await client.over(id);
    const status = client.status(id);
    client.close();
    await own.stop();
    return { status, answer };
  }

  const wrong: Record<string, Buffer[]> = {
    "no status": [frame(HEADERS, END_HEADERS | END_STREAM, 1, block([["x", "y"]]))],
    "upper case": [frame(HEADERS, END_HEADERS | END_STREAM, 1, block([[":status", "200"], ["X-A", "b"]]))],
    "a line end in a value": [
      frame(HEADERS, END_HEADERS | END_STREAM, 1, block([[":status", "200"], ["x", "1\r\nset-cookie: a=b"]])),
    ],
    "a connection field": [
      frame(
        HEADERS,
        END_HEADERS | END_STREAM,
        1,
        block([[":status", "200"], ["transfer-encoding", "chunked"]]),
      ),
    ],
    "101": [frame(HEADERS, END_HEADERS, 1, block([[":status", "101"]]))],
    "two lengths": [
      frame(
        HEADERS,
        END_HEADERS,
        1,
        block([[":status", "200"], ["content-length", "1"], ["content-length", "2"]]),
      ),
    ],
    "a length without a body": [
      frame(HEADERS, END_HEADERS | END_STREAM, 1, block([[":status", "200"], ["content-length", "5"]])),
    ],
    "a body before its head": [frame(DATA, 0, 1, "x")],
    "HTTP/1.1": [Buffer.from("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")],
    "a block that cannot be read": [frame(HEADERS, END_HEADERS, 1, "\x80")],
  };
  for (const [what, bytes] of Object.entries(wrong)) {
    test(`${what} is a bad response`, async () => {
      const server = await frameMachine((socket) => void socket.write(Buffer.concat(bytes)));
      const { status, answer } = await askOnce(server);
      expect(status).toBe("502");
      expect(answer.body.toString()).toContain("edge.bad_response");
      server.close();
    });
  }

  for (const [what, body] of [["longer", "123456"], ["shorter", "1234"]]) {
    test(`a body ${what} than announced is cut`, async () => {
      const server = await frameMachine((socket) => {
        const head = block([[":status", "200"], ["content-length", "5"]]);
        socket.write(Buffer.concat([frame(HEADERS, END_HEADERS, 1, head), frame(DATA, END_STREAM, 1, body)]));
      });
      const { answer } = await askOnce(server);
      expect(answer.reset).toBe(constants.NGHTTP2_INTERNAL_ERROR);
      server.close();
    });
  }

  for (const method of ["GET", "POST"]) {
    test(`a ${method} that it refused unseen is sent again`, async () => {
      const server = await frameMachine((socket, connection) => {
        if (connection > 0) socket.write(frame(HEADERS, END_HEADERS | END_STREAM, 1, OK));
        else socket.write(frame(RST_STREAM, 0, 1, number(REFUSED_STREAM)));
      });
      expect((await askOnce(server, method)).status).toBe("200");
      server.close();
    });
    test(`a ${method} that its GOAWAY left out is sent again`, async () => {
      const server = await frameMachine((socket, connection) => {
        if (connection > 0) socket.write(frame(HEADERS, END_HEADERS | END_STREAM, 1, OK));
        else socket.end(goAway(0));
      });
      expect((await askOnce(server, method)).status).toBe("200");
      server.close();
    });
  }

  test("a POST whose connection broke is not sent again", async () => {
    let asked = 0;
    const server = await frameMachine((socket) => {
      asked++;
      socket.destroy();
    });
    expect((await askOnce(server, "POST")).status).toBe("502");
    expect(asked).toBe(1);
    server.close();
  });

  test("nobody listens: the page says so", async () => {
    const upstream = await startRawUpstream(() => {});
    await upstream.stop();
    const { status, answer } = await askOnce(upstream);
    expect(status).toBe("502");
    expect(answer.body.toString()).toContain("edge.machine_refused");
  });
});
