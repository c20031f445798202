import { expect, test } from "bun:test";
import { encodeFrame, EXEC_FRAME_BYTES_MAX, FrameKind, FrameReader } from "./exec-frames.ts";

const words = (reader: FrameReader, chunk: Uint8Array) =>
  reader.push(chunk).map(({ kind, payload }) => [kind, Buffer.from(payload).toString()] as const);

test("FrameReader gives back what encodeFrame() wrote, however the bytes are cut", () => {
  const frames = [
    encodeFrame(FrameKind.stdout, "out"),
    encodeFrame(FrameKind.stderr),
    encodeFrame(FrameKind.exit, "{}"),
  ];
  const bytes = Buffer.concat(frames);
  for (let size = 1; size <= bytes.length; size++) {
    const reader = new FrameReader("guest");
    const found = [];
    for (let at = 0; at < bytes.length; at += size) {
      // The chunk is overwritten afterwards, as a buffer that is read into again would be.
      const chunk = Buffer.from(bytes.subarray(at, at + size));
      found.push(...words(reader, chunk));
      chunk.fill(0);
    }
    expect(found).toEqual([[FrameKind.stdout, "out"], [FrameKind.stderr, ""], [FrameKind.exit, "{}"]]);
    expect(reader.isWhole).toBe(true);
  }
});

test("FrameReader refuses kinds that there are not, those of the other side, and too long a frame", () => {
  expect(() => new FrameReader("guest").push(Uint8Array.of(99, 0, 0, 0, 0))).toThrow("kind 99");
  expect(() => new FrameReader("guest").push(encodeFrame(FrameKind.stdin, "x"))).toThrow("kind 2");
  expect(() => new FrameReader("caller").push(encodeFrame(FrameKind.exit, "x"))).toThrow("kind 19");
  const long = Buffer.from(encodeFrame(FrameKind.stdout));
  long.writeUInt32BE(EXEC_FRAME_BYTES_MAX + 1, 1);
  expect(() => new FrameReader("guest").push(long)).toThrow("65537 bytes");
  expect(() => encodeFrame(FrameKind.stdin, new Uint8Array(EXEC_FRAME_BYTES_MAX + 1))).toThrow(RangeError);
});

test("FrameReader knows that a frame is not whole", () => {
  const reader = new FrameReader("guest");
  expect(reader.push(encodeFrame(FrameKind.stdout, "abc").subarray(0, 6))).toEqual([]);
  expect(reader.isWhole).toBe(false);
});
