import { expect, test } from "bun:test";
import { decompressLegacy } from "./lz4.ts";

/** One block of a legacy frame. */
function frame(...blocks: number[][]): Uint8Array {
  const parts = blocks.flatMap((block) => [block.length & 0xff, block.length >> 8, 0, 0, ...block]);
  return Uint8Array.from([0x02, 0x21, 0x4c, 0x18, ...parts]);
}
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const codes = (written: string) => [...Buffer.from(written)];

test("decompressLegacy() copies literals and matches, overlapping ones too", () => {
  // "abc", then 6 bytes from 3 back, then the last literals "xy".
  expect(text(decompressLegacy(frame([0x32, ...codes("abc"), 3, 0, 0x20, ...codes("xy")])))).toBe(
    "abcabcabcxy",
  );
  // "a", then 19 + 1 of it: a match length beyond 15 goes on in the next byte.
  expect(text(decompressLegacy(frame([0x1f, 97, 1, 0, 1, 0x10, 98])))).toBe(`${"a".repeat(21)}b`);
});

test("decompressLegacy() joins blocks and stops at what is none", () => {
  const bytes = Uint8Array.from([...frame([0x10, 97], [0x10, 98]), 0, 0, 0, 0]);
  expect(text(decompressLegacy(bytes))).toBe("ab");
});

test("decompressLegacy() refuses a match before the start", () => {
  expect(() => decompressLegacy(frame([0x10, 97, 9, 0, 0x10, 98]))).toThrow("Invariant broken");
});
