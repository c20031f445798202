import { expect, test } from "bun:test";
import { plainText } from "./plain-text.ts";

test("plainText() shows what would steer a terminal, and keeps tab and colour", () => {
  expect(plainText("a\tb\x1b[31mred\x1b[0m")).toBe("a\tb\x1b[31mred\x1b[0m");
  expect(plainText("\x1b]0;title\x07")).toBe("\\x1b]0;title\\x07");
  expect(plainText("two\nlines")).toBe("two\\x0alines");
});
