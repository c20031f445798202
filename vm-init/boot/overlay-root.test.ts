import { expect, test } from "bun:test";
import { filesystemOf } from "./overlay-root.ts";

const head = (bytes: readonly number[], at: number) => {
  const block = new Uint8Array(2_048);
  block.set(bytes, at);
  return block;
};

test("filesystemOf() tells erofs and ext4 by their magic numbers", () => {
  expect(filesystemOf(head([0xe2, 0xe1, 0xf5, 0xe0], 1_024))).toBe("erofs");
  expect(filesystemOf(head([0x53, 0xef], 1_080))).toBe("ext4");
  expect(filesystemOf(head([], 0))).toBeNull();
});
