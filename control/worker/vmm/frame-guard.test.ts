import { expect, test } from "bun:test";
import { FrameGuard } from "./frame-guard.ts";

function frame(type: number, id: number, payloadBytes: number): Buffer {
  const bytes = Buffer.alloc(9 + payloadBytes);
  bytes.writeUIntBE(payloadBytes, 0, 3);
  bytes[3] = type;
  bytes.writeUInt32BE(id, 5);
  return bytes;
}

const [DATA, HEADERS, SETTINGS, PUSH, PING] = [0, 1, 4, 5, 6];

test("FrameGuard lets through what a guest may say, however it is cut", () => {
  const words = Buffer.concat([
    frame(SETTINGS, 0, 12),
    frame(HEADERS, 1, 30),
    frame(DATA, 1, 16_384),
    frame(DATA, 3, 0),
    frame(PING, 0, 8),
  ]);
  for (const size of [1, 7, 9, 1_000, words.length]) {
    const guard = new FrameGuard(0);
    guard.open();
    guard.open();
    for (let at = 0; at < words.length; at += size) {
      expect(guard.take(words.subarray(at, at + size), 0)).toBe(0);
    }
  }
});

test.each([
  ["a stream that the worker never opened", frame(DATA, 3, 10), "stream 3"],
  ["a stream of the guest's own", frame(HEADERS, 2, 10), "stream 2"],
  ["a push", frame(PUSH, 1, 10), "push"],
  ["a type that there is not", frame(10, 0, 10), "type 10"],
  ["too long a frame", frame(DATA, 1, 16_385), "16385 bytes"],
  ["another protocol", Buffer.from("HTTP/1.1 200 OK\r\n\r\n"), "bytes"],
])("FrameGuard refuses %s", (_, bytes, message) => {
  const guard = new FrameGuard(0);
  guard.open();
  expect(() => guard.take(bytes, 0)).toThrow(message);
});

test("FrameGuard slows down frames that carry next to nothing, and no others", () => {
  const guard = new FrameGuard(0);
  guard.open();
  const many = (bytes: Buffer, count: number) => Buffer.concat(Array.from({ length: count }, () => bytes));
  expect(guard.take(many(frame(DATA, 1, 100), 30_000), 0)).toBe(0);
  expect(guard.take(many(frame(PING, 0, 8), 20_000), 0)).toBe(0);
  expect(guard.take(many(frame(DATA, 1, 1), 5_000), 0)).toBe(1_000);
  expect(guard.take(frame(PING, 0, 8), 2_000)).toBe(0);
  // However long it was quiet, no more than the burst has gathered.
  expect(guard.take(many(frame(PING, 0, 8), 20_005), 1_000_000)).toBe(1);
});
