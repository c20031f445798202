import { expect, test } from "bun:test";
import { isStart } from "./virtio-port.ts";

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const settings = "\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64";
const starts = (...parts: string[]) => isStart(Buffer.from(parts.join("")));

test("isStart() knows a host's first words, whole or as far as they have come", () => {
  expect(starts(preface, settings, "more")).toBe(true);
  for (let length = 0; length <= settings.length; length++) {
    expect(starts(preface, settings.slice(0, length))).toBe(true);
  }
});

test("isStart() takes nothing else for them, above all not a file that holds them", () => {
  expect(starts("headers")).toBe(false);
  expect(starts("")).toBe(false);
  expect(starts(preface.slice(0, 23))).toBe(false);
  expect(starts("rest of a file", preface, settings)).toBe(false);
  expect(starts(preface, preface)).toBe(false);
});
