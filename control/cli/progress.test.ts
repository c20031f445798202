import { expect, test } from "bun:test";
import { progressInWords } from "./progress.ts";

test("progressInWords() has a share where the end is known", () => {
  expect(progressInWords(1_048_576, 4_194_304)).toBe(" 25 %  1.0 MiB of 4.0 MiB");
  expect(progressInWords(5_000_000, 4_194_304)).toContain("100 %");
  expect(progressInWords(0, 0)).toContain("100 %");
  expect(progressInWords(1_572_864, null)).toBe("1.5 MiB");
});
