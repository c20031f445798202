import { expect, test } from "bun:test";
import { signalNumber } from "./process.ts";

test.each([
  ["SIGTERM", 15],
  ["TERM", 15],
  ["15", 15],
  ["SIGRTMIN+3", 37],
  ["RTMAX-1", 63],
  ["SIGRTMIN", 34],
  ["SIGRTMIN+31", null],
  ["SIGRTMIN-1", null],
  ["SIGNOSUCH", null],
  ["toString", null],
  ["0", null],
  ["99", null],
  ["", null],
])("signalNumber() takes %p for %p", (name, number) => {
  expect(signalNumber(name)).toBe(number);
});
