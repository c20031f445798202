/** WebSocket over HTTP/2 (RFC 8441): node:http2 in front, Bun's own WebSocket server behind. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from "node:http2";
import { startRawUpstream, until } from "../edge.fixture.ts";
import { FrameClient, type Http2Edge, pseudo, startHttp2Edge } from "./http2.fixture.ts";
import { SETTING_ENABLE_CONNECT_PROTOCOL, SETTINGS } from "./protocol.ts";
import { accepted } from "./websocket.ts";

const TEXT = 1;
const BINARY = 2;
const CLOSE = 8;

/** A client's frame: masked (RFC 6455 section 5.2). */
function message(opcode: number, payload: Buffer): Buffer {
  const length = payload.length;
  const head = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10);
  head[0] = 0x80 | opcode;
  if (length < 126) head[1] = 0x80 | length;
  else if (length < 65_536) {
    head[1] = 0x80 | 126;
    head.writeUInt16BE(length, 2);
  } else {
    head[1] = 0x80 | 127;
    head.writeBigUInt64BE(BigInt(length), 2);
  }
  const mask = randomBytes(4);
  return Buffer.concat([head, mask, Buffer.from(payload.map((byte, i) => byte ^ mask[i & 3]!))]);
}

class Conversation {
  readonly messages: { opcode: number; payload: Buffer }[] = [];
  ended = false;
  closed = false;
  #bytes: Buffer = Buffer.alloc(0);

  constructor(readonly stream: ClientHttp2Stream) {
    stream.on("data", (chunk: Buffer) => this.#read(chunk));
    stream.on("end", () => this.ended = true);
    stream.on("close", () => this.closed = true);
    stream.on("error", () => {});
  }
  say(opcode: number, payload: Buffer | string): void {
    this.stream.write(message(opcode, Buffer.from(payload)));
  }
  async next(index: number): Promise<Buffer> {
    await until(() => this.messages.length > index || this.closed);
    return this.messages[index]!.payload;
  }
  #read(chunk: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, chunk]);
    for (;;) {
      const bytes = this.#bytes;
      if (bytes.length < 2) return;
      const short = bytes[1]! & 127;
      const start = short < 126 ? 2 : short === 126 ? 4 : 10;
      if (bytes.length < start) return;
      const length = short < 126
        ? short
        : short === 126
        ? bytes.readUInt16BE(2)
        : Number(bytes.readBigUInt64BE(2));
      if (bytes.length < start + length) return;
      this.messages.push({ opcode: bytes[0]! & 15, payload: bytes.subarray(start, start + length) });
      this.#bytes = bytes.subarray(start + length);
    }
  }
}

let machine: Bun.Server<undefined>;
let edge: Http2Edge;
let session: ClientHttp2Session;
let closes: number[] = [];

beforeAll(async () => {
  machine = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch(request, server) {
      if (new URL(request.url).pathname === "/no") return new Response("not here", { status: 403 });
      const protocol = request.headers.get("sec-websocket-protocol");
      const headers = protocol === null ? {} : { "Sec-WebSocket-Protocol": protocol.split(", ")[0]! };
      if (server.upgrade(request, { headers })) return;
      return new Response("no upgrade", { status: 400 });
    },
    websocket: {
      maxPayloadLength: 16_000_000,
      message(socket, data) {
        if (data === "close me") socket.close(4_001, "as you wish");
        else socket.send(data);
      },
      close: (_socket, code) => void closes.push(code),
    },
  });
  edge = await startHttp2Edge([machine.port!]);
  session = connect(`http://127.0.0.1:${edge.port}`);
  session.on("error", () => {});
  await new Promise((resolve) => session.once("remoteSettings", resolve));
});
afterAll(async () => {
  session.destroy();
  await edge.stop();
  await machine.stop(true);
});

async function open(fields: Record<string, string> = {}): Promise<[Conversation, Record<string, unknown>]> {
  const stream = session.request({
    ":method": "CONNECT",
    ":protocol": "websocket",
    ":scheme": "http",
    ":path": "/",
    ":authority": "app.test",
    "sec-websocket-version": "13",
    ...fields,
  });
  const conversation = new Conversation(stream);
  const headers = await new Promise<Record<string, unknown>>((resolve, reject) => {
    stream.on("response", (got) => resolve(got as Record<string, unknown>));
    stream.on("error", reject);
  });
  return [conversation, headers];
}

test("accepted() knows the example of RFC 6455, section 1.3", () => {
  const line = (value: string) => `Sec-WebSocket-Accept: ${value}\r\n`;
  expect(accepted("dGhlIHNhbXBsZSBub25jZQ==", line("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="))).toBe(true);
  expect(accepted("dGhlIHNhbXBsZSBub25jZQ==", line("s3pPLMBiTxaQ9kYGzzhZRbK+xOp="))).toBe(false);
  expect(accepted("dGhlIHNhbXBsZSBub25jZQ==", "")).toBe(false);
});

describe("a WebSocket over HTTP/2", () => {
  test("is offered in the edge's settings", async () => {
    const client = await FrameClient.open(edge.port);
    await until(() => client.frames.some((frame) => frame.type === SETTINGS && frame.payload.length > 0));
    const { payload } = client.frames.find((frame) => frame.type === SETTINGS && frame.payload.length > 0)!;
    const names = Array.from({ length: payload.length / 6 }, (_, i) => payload.readUInt16BE(i * 6));
    expect(names).toContain(SETTING_ENABLE_CONNECT_PROTOCOL);
    client.close();
  });

  test("echoes words, and is 200 without the fields of HTTP/1.1's handshake", async () => {
    const [conversation, headers] = await open({ "sec-websocket-protocol": "one, two" });
    expect(headers[":status"]).toBe(200);
    expect(headers["sec-websocket-protocol"]).toBe("one");
    for (const name of ["sec-websocket-accept", "upgrade", "connection"]) {
      expect(headers).not.toHaveProperty(name);
    }
    conversation.say(TEXT, "hello");
    expect((await conversation.next(0)).toString()).toBe("hello");
    conversation.say(TEXT, "again");
    expect((await conversation.next(1)).toString()).toBe("again");
    conversation.stream.destroy();
  });

  test("carries large messages both ways, many of them, beside other streams", async () => {
    const [conversation] = await open();
    const large = randomBytes(3_000_000);
    conversation.say(BINARY, large);
    for (let i = 0; i < 50; i++) conversation.say(TEXT, String(i));
    const other = session.request({ ":path": "/no", ":authority": "app.test" });
    other.resume();
    await new Promise((resolve) => other.on("end", resolve));
    await conversation.next(50);
    expect(conversation.messages[0]!.payload.equals(large)).toBe(true);
    expect(conversation.messages.slice(1).map(({ payload }) => payload.toString())).toEqual(
      Array.from({ length: 50 }, (_, i) => String(i)),
    );
    conversation.stream.destroy();
  });

  test("closes from the client's side, with its code", async () => {
    closes = [];
    const [conversation] = await open();
    const code = Buffer.alloc(2);
    code.writeUInt16BE(4_000);
    conversation.say(CLOSE, code);
    await until(() => closes.includes(4_000));
    await until(() => conversation.ended);
    expect(conversation.messages.at(-1)?.opcode).toBe(CLOSE);
    conversation.stream.end();
    await until(() => conversation.closed);
  });

  test("closes from the machine's side, with its code and its words", async () => {
    const [conversation] = await open();
    conversation.say(TEXT, "close me");
    const payload = await conversation.next(0);
    expect([payload.readUInt16BE(0), payload.subarray(2).toString()]).toEqual([4_001, "as you wish"]);
    const code = Buffer.alloc(2);
    code.writeUInt16BE(4_001);
    conversation.say(CLOSE, code);
    await until(() => conversation.ended);
    conversation.stream.end();
    await until(() => conversation.closed);
  });

  test("that is reset by the client ends at the machine", async () => {
    closes = [];
    const [conversation] = await open();
    conversation.stream.close(constants.NGHTTP2_CANCEL);
    await until(() => closes.length === 1);
  });

  test("whose first message comes before the machine has agreed loses nothing", async () => {
    const client = await FrameClient.open(edge.port);
    const id = client.request([...pseudo("CONNECT"), [":protocol", "websocket"], [
      "sec-websocket-version",
      "13",
    ]], false);
    client.data(id, message(TEXT, Buffer.from("early")));
    await until(() => client.answer(id).body.includes("early"));
    client.close();
  });

  test("that the machine refuses gets the machine's answer", async () => {
    const [, headers] = await open({ ":path": "/no" });
    expect(headers[":status"]).toBe(403);
  });

  test("whose machine proves nothing is a bad response", async () => {
    const liar = await startRawUpstream((connection) => {
      connection.socket.write(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n",
      );
    });
    const own = await startHttp2Edge([liar.port]);
    const client = await FrameClient.open(own.port);
    const id = client.request([...pseudo("CONNECT"), [":protocol", "websocket"]], false);
    const answer = await client.over(id);
    expect(client.status(id)).toBe("502");
    expect(answer.body.toString()).toContain("edge.bad_response");
    await until(() => liar.connections[0]!.closed);
    client.close();
    await own.stop();
    await liar.stop();
  });
});
