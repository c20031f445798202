import { expect, test } from "bun:test";
import { newestStart } from "./virtio-port.ts";

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const startIn = (...parts: string[]) => newestStart(Buffer.from(parts.join("")));

test("newestStart() finds the start of a conversation, and none in the middle of one", () => {
  expect(startIn(preface, "settings")).toBe(0);
  expect(startIn("headers")).toBe(-1);
});

test("newestStart() passes over what hosts left that were gone before the port was read", () => {
  expect(startIn(preface, "one", preface, "two")).toBe(preface.length + 3);
  expect(startIn("rest of one", preface, "two")).toBe(11);
  expect(startIn(preface, preface)).toBe(preface.length);
});
