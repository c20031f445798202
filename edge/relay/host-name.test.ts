import { expect, test } from "bun:test";
import { hostName } from "./host-name.ts";

const cases: [string, string | null][] = [
  ["a.test", "a.test"],
  ["A.TEST:80", "a.test"],
  ["a.test.", "a.test"],
  ["a_b.test", "a_b.test"],
  ["127.0.0.1:8080", "127.0.0.1"],
  ["[::1]:80", "[::1]"],
  ["", null],
  [".", null],
  [":80", null],
  ["a.test:", null],
  ["a.test:65536", null],
  ["a.test:+80", null],
  ["a.test:80:80", null],
  ["a b", null],
  ["a@b", null],
  ["a%2fb", null],
  ["a/b", null],
  ["[]", null],
  ["[::1", null],
  ["[::1]x", null],
  ["\xe9.test", null],
  ["a".repeat(300), null],
];
for (const [given, want] of cases) {
  test(`hostName(${JSON.stringify(given.slice(0, 20))}) is ${want}`, () =>
    expect(hostName(given)).toBe(want));
}
