import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { type FrameEvents, FrameReader } from "./frame-reader.ts";
import { frame } from "./http2.fixture.ts";
import {
  DATA,
  END_STREAM,
  FRAME_BYTES_MAX,
  FRAME_SIZE_ERROR,
  HEADERS,
  PADDED,
  PING,
  PROTOCOL_ERROR,
} from "./protocol.ts";

/** What was read, DATA pieces put together. */
function readAll(pieces: Buffer[]): { said: string[]; error: number } {
  const said: string[] = [];
  let data = "";
  const events: FrameEvents = {
    frameBegins: () => 0,
    frame(type, flags, id, bytes, from, to) {
      said.push(`${type} ${flags} ${id} ${bytes.toString("hex", from, to)}`);
      return 0;
    },
    dataPiece: (_id, bytes, from, to) => data += bytes.toString("hex", from, to),
    dataEnds(flags, id, overhead) {
      said.push(`data ${flags} ${id} ${overhead} ${overhead === -1 ? "" : data}`);
      data = "";
      return overhead === -1 ? PROTOCOL_ERROR : 0;
    },
  };
  const reader = new FrameReader(events);
  for (const piece of pieces) {
    const error = reader.feed(piece, 0);
    if (error !== 0) return { said, error };
  }
  return { said, error: 0 };
}

describe("FrameReader", () => {
  test("reads the same in pieces of any size as at once", () => {
    const frames = fc.array(
      fc.record({
        type: fc.integer({ min: 0, max: 11 }),
        flags: fc.constantFrom(0, END_STREAM, PADDED, PADDED | END_STREAM),
        id: fc.integer({ min: 0, max: 0x7fff_ffff }),
        payload: fc.uint8Array({ maxLength: 40 }),
      }),
      { maxLength: 10 },
    );
    fc.assert(
      fc.property(frames, fc.array(fc.integer({ min: 1, max: 30 }), { maxLength: 60 }), (list, cuts) => {
        const bytes = Buffer.concat(list.map((f) => frame(f.type, f.flags, f.id, Buffer.from(f.payload))));
        const pieces: Buffer[] = [];
        let at = 0;
        for (const cut of cuts) {
          pieces.push(bytes.subarray(at, at + cut));
          at += cut;
        }
        pieces.push(bytes.subarray(at));
        expect(readAll(pieces)).toEqual(readAll([bytes]));
      }),
    );
  });

  test("takes padding off DATA and HEADERS, and counts it", () => {
    expect(readAll([frame(DATA, PADDED, 1, "\x02hi\0\0"), frame(HEADERS, PADDED, 3, "\x01x\0")]).said)
      .toEqual(
        [`data 8 1 3 ${Buffer.from("hi").toString("hex")}`, `1 8 3 ${Buffer.from("x").toString("hex")}`],
      );
  });

  test("refuses padding longer than its frame, and a frame longer than was agreed", () => {
    expect(readAll([frame(DATA, PADDED, 1, "\x05hi")]).error).toBe(PROTOCOL_ERROR);
    expect(readAll([frame(HEADERS, PADDED, 1, "\x05hi")]).error).toBe(PROTOCOL_ERROR);
    expect(readAll([frame(DATA, PADDED, 1)]).error).toBe(FRAME_SIZE_ERROR);
    const header = frame(PING, 0, 0, Buffer.alloc(FRAME_BYTES_MAX + 1)).subarray(0, 9);
    expect(readAll([header]).error).toBe(FRAME_SIZE_ERROR);
  });
});
