/** Each flood of frames ends its own connection with ENHANCE_YOUR_CALM; another client's goes on as if nothing were. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type RawUpstream, startRawUpstream, until } from "../edge.fixture.ts";
import { UNSENT_BYTES_MAX } from "./connection.ts";
import { CONTINUATIONS_MAX } from "./header-block.ts";
import { FrontConnection, STREAMS_MAX } from "./front-connection.ts";
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
  CONTINUATION,
  DATA,
  END_HEADERS,
  END_STREAM,
  ENHANCE_YOUR_CALM,
  FLOW_CONTROL_ERROR,
  FRAME_SIZE_ERROR,
  HEADERS,
  PING,
  PREFACE,
  PRIORITY,
  PROTOCOL_ERROR,
  REFUSED_STREAM,
  RST_STREAM,
  SETTING_INITIAL_WINDOW_SIZE,
  SETTINGS,
  WINDOW_UPDATE,
} from "./protocol.ts";

let machine: RawUpstream;
let edge: Http2Edge;
let seen = 0;

beforeAll(async () => {
  machine = await startRawUpstream((connection) => {
    if (!connection.text.endsWith("\r\n\r\n")) return;
    seen++;
    const slow = connection.text.includes("/slow");
    connection.text = "";
    if (!slow) connection.socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  });
  edge = await startHttp2Edge([machine.port], { limits: { headWaitMsMax: 1_000 } });
});
afterAll(async () => {
  await edge.stop();
  await machine.stop();
});

async function asksInPeace(client: FrameClient): Promise<void> {
  const id = client.request(pseudo());
  expect((await client.over(id)).body.toString()).toBe("ok");
}

const many = (count: number, make: (i: number) => Buffer) => Array.from({ length: count }, (_, i) => make(i));
const get = (id: number, path = "/slow") =>
  frame(HEADERS, END_HEADERS | END_STREAM, id, block(pseudo("GET", path)));

describe("a flood of", () => {
  const floods: Record<string, () => Buffer[]> = {
    "streams that are reset at once (CVE-2023-44487)": () =>
      many(2_000, (i) => Buffer.concat([get(1 + 2 * i), frame(RST_STREAM, 0, 1 + 2 * i, number(8))])),
    "streams made to be reset (CVE-2025-8671)": () =>
      many(2_000, (i) => Buffer.concat([get(1 + 2 * i), frame(WINDOW_UPDATE, 0, 1 + 2 * i, number(0))])),
    "malformed requests": () =>
      many(2_000, (i) => frame(HEADERS, END_HEADERS | END_STREAM, 1 + 2 * i, block([["X", "y"]]))),
    "streams more than allowed": () => many(2_000, (i) => get(1 + 2 * i)),
    "CONTINUATION frames (VU#421644)": () => [
      frame(HEADERS, 0, 1, block(pseudo())),
      ...many(10_000, (i) => frame(CONTINUATION, 0, 1, block([[`x${i}`, "y"]]))),
    ],
    "empty CONTINUATION frames": () => [
      frame(HEADERS, 0, 1, block(pseudo())),
      ...many(10_000, () => frame(CONTINUATION, 0, 1)),
    ],
    "SETTINGS (CVE-2019-9515)": () => many(10_000, () => settings()),
    "PING (CVE-2019-9512)": () => many(10_000, () => frame(PING, 0, 0, Buffer.alloc(8))),
    "empty DATA (CVE-2019-9518)": () => [
      frame(HEADERS, END_HEADERS, 1, block(pseudo("POST"))),
      ...many(10_000, () => frame(DATA, 0, 1)),
    ],
    "PRIORITY (CVE-2019-9513)": () => many(20_000, () => frame(PRIORITY, 0, 1, Buffer.from([0, 0, 0, 3, 9]))),
    "frames of unknown types": () => many(20_000, () => frame(0x42, 0, 0, "?")),
    "WINDOW_UPDATE": () => many(20_000, () => frame(WINDOW_UPDATE, 0, 0, number(1))),
  };
  for (const [what, make] of Object.entries(floods)) {
    test(`${what} is cut, and others are unharmed`, async () => {
      const victim = await FrameClient.open(edge.port);
      await asksInPeace(victim);
      const attacker = await FrameClient.open(edge.port);
      attacker.send(...make());
      const peace = asksInPeace(victim);
      expect(await attacker.end()).toBe(ENHANCE_YOUR_CALM);
      await peace;
      await asksInPeace(victim);
      victim.close();
      attacker.close();
    });
  }

  test("resets leaves no work behind: what machines still had to do is cancelled", async () => {
    await until(() => machine.connections.filter((each) => !each.closed).length <= 2);
    expect(edge.edge.relay.clients.size).toBeLessThanOrEqual(2);
    expect(seen).toBeGreaterThan(0);
  });
});

describe("bounds", () => {
  test(`${STREAMS_MAX} streams run at once; one more is refused, and may be sent again`, async () => {
    const client = await FrameClient.open(edge.port);
    const ids = many(STREAMS_MAX + 1, () => number(client.request(pseudo("GET", "/slow")))).map((id) =>
      id.readUInt32BE()
    );
    expect((await client.over(ids.at(-1)!)).reset).toBe(REFUSED_STREAM);
    client.reset(ids[0]!);
    await asksInPeace(client);
    client.close();
  });

  test("a head over 64 KiB unpacked is 431, though a few bytes on the wire, and the connection goes on", async () => {
    const client = await FrameClient.open(edge.port);
    // One field goes into the table, and a thousand references to it follow.
    const large = Buffer.concat([Buffer.from([0x40, 1, 0x78, 0x7f, 0xa1, 0x1e]), Buffer.alloc(4_000, 0x79)]);
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, Buffer.concat([block(pseudo()), large])));
    client.send(
      frame(
        HEADERS,
        END_HEADERS | END_STREAM,
        3,
        Buffer.concat([block(pseudo()), Buffer.alloc(1_000, 0x80 | 62)]),
      ),
    );
    await client.over(1);
    await client.over(3);
    expect([client.status(1), client.status(3)]).toEqual(["200", "431"]);
    client.send(get(5, "/"));
    expect((await client.over(5)).body.toString()).toBe("ok");
    client.close();
  });

  test("a block may come in a few CONTINUATION frames", async () => {
    const client = await FrameClient.open(edge.port);
    const bytes = block([
      ...pseudo(),
      ...many(CONTINUATIONS_MAX, (i) => Buffer.from([i])).map((_, i) => [`x${i}`, "y"] as const),
    ]);
    const size = Math.ceil(bytes.length / CONTINUATIONS_MAX);
    const parts = many(CONTINUATIONS_MAX, (i) => bytes.subarray(i * size, (i + 1) * size));
    client.send(...parts.map((part, i) =>
      frame(
        i === 0 ? HEADERS : CONTINUATION,
        (i === 0 ? END_STREAM : 0) | (i === parts.length - 1 ? END_HEADERS : 0),
        1,
        part,
      )
    ));
    expect((await client.over(1)).body.toString()).toBe("ok");
    client.close();
  });

  test("a client that never says its preface, or stops in the middle of a head, is let go", async () => {
    const silent = await FrameClient.raw(edge.port);
    const stalled = await FrameClient.open(edge.port);
    stalled.send(frame(HEADERS, 0, 1, block(pseudo())));
    await Promise.all([silent.end(), stalled.end()]);
    expect(stalled.goneAway).not.toBeNull();
  });

  test("a client that does not take what it asked for holds little, and is let go after a while", async () => {
    let sent = 0;
    const bulk = await startRawUpstream((connection) => {
      if (!connection.text.endsWith("\r\n\r\n")) return;
      connection.text = "";
      connection.socket.write("HTTP/1.1 200 OK\r\n\r\n");
      const piece = Buffer.alloc(65_536);
      const pump = () => {
        while (!connection.closed && sent < 500_000_000) {
          sent += piece.length;
          if (!connection.socket.write(piece)) return void connection.socket.once("drain", pump);
        }
      };
      pump();
    });
    const own = await startHttp2Edge([bulk.port], { limits: { responseIdleMsMax: 500 } });
    const client = await FrameClient.open(own.port, { [SETTING_INITIAL_WINDOW_SIZE]: 0x7fff_ffff });
    client.widen(0, 0x7fff_ffff - 65_535);
    client.socket.pause();
    for (let i = 0; i < 4; i++) client.request(pseudo());
    let mostBytes = 0;
    await until(() => {
      for (const each of own.edge.relay.clients) {
        if (each instanceof FrontConnection) mostBytes = Math.max(mostBytes, each.writer.bytes);
      }
      return mostBytes > 0 && own.edge.relay.clients.size === 0;
    });
    expect(mostBytes).toBeLessThan(UNSENT_BYTES_MAX);
    expect(sent).toBeLessThan(100_000_000);
    client.close();
    await own.stop();
    await bulk.stop();
  });
});

describe("a peer's mistake ends the connection with the right error:", () => {
  const preface = Buffer.from(PREFACE, "latin1");
  const mistakes: Record<string, [Buffer[], number]> = {
    "another preface": [[Buffer.from("PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n")], PROTOCOL_ERROR],
    "a first frame other than SETTINGS": [[preface, frame(PING, 0, 0, Buffer.alloc(8))], PROTOCOL_ERROR],
    "DATA on stream 0": [[preface, settings(), frame(DATA, 0, 0, "x")], PROTOCOL_ERROR],
    "DATA on a stream that never was": [[preface, settings(), frame(DATA, 0, 1, "x")], PROTOCOL_ERROR],
    "HEADERS on stream 0": [[preface, settings(), frame(HEADERS, 5, 0, block(pseudo()))], PROTOCOL_ERROR],
    "HEADERS on an even stream": [
      [preface, settings(), frame(HEADERS, 5, 2, block(pseudo()))],
      PROTOCOL_ERROR,
    ],
    "a PING of seven bytes": [[preface, settings(), frame(PING, 0, 0, Buffer.alloc(7))], FRAME_SIZE_ERROR],
    "SETTINGS on a stream": [[preface, frame(SETTINGS, 0, 1)], PROTOCOL_ERROR],
    "SETTINGS of five bytes": [[preface, frame(SETTINGS, 0, 0, "12345")], FRAME_SIZE_ERROR],
    "an initial window too large": [
      [preface, settings({ [SETTING_INITIAL_WINDOW_SIZE]: 2 ** 31 })],
      FLOW_CONTROL_ERROR,
    ],
    "a window past its maximum": [
      [preface, settings(), frame(WINDOW_UPDATE, 0, 0, number(0x7fff_ffff))],
      FLOW_CONTROL_ERROR,
    ],
    "another frame inside a header block": [
      [preface, settings(), frame(HEADERS, 0, 1, block(pseudo())), frame(PING, 0, 0, Buffer.alloc(8))],
      PROTOCOL_ERROR,
    ],
    "CONTINUATION out of nowhere": [[preface, settings(), frame(CONTINUATION, 4, 1)], PROTOCOL_ERROR],
    "more DATA than its window": [
      [
        preface,
        settings(),
        frame(HEADERS, END_HEADERS, 1, block(pseudo("POST", "/slow"))),
        ...many(5, () => frame(DATA, 0, 1, Buffer.alloc(16_384))),
      ],
      FLOW_CONTROL_ERROR,
    ],
    "a header block that cannot be read": [[preface, settings(), frame(HEADERS, 5, 1, "\x80")], 9],
    "a frame too large": [[preface, settings(), frame(DATA, 0, 1, Buffer.alloc(16_385))], FRAME_SIZE_ERROR],
    "a PUSH_PROMISE": [[preface, settings(), frame(5, 4, 1, "\0\0\0\x02")], PROTOCOL_ERROR],
  };
  for (const [what, [bytes, error]] of Object.entries(mistakes)) {
    test(what, async () => {
      const client = await FrameClient.raw(edge.port);
      client.send(...bytes);
      expect(await client.end()).toBe(error);
      client.close();
    });
  }
});
