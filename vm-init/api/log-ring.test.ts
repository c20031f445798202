import { expect, test } from "bun:test";
import { LogRing } from "./log-ring.ts";

const ring = (bytesMax: number, lines: number) => {
  const log = new LogRing(() => 7, bytesMax);
  for (let i = 0; i < lines; i++) log.add("stdout", `line ${i}`);
  return log;
};

test("LogRing gives lines from a number on, in order", () => {
  const log = ring(10_000, 3);
  expect(log.from(1, 10)).toEqual([
    { seq: 1, stream: "stdout", at_ms: 7, line: "line 1" },
    { seq: 2, stream: "stdout", at_ms: 7, line: "line 2" },
  ]);
  expect(log.from(0, 2).map(({ seq }) => seq)).toEqual([0, 1]);
  expect(log.from(3, 10)).toEqual([]);
  expect(log.from(99, 10)).toEqual([]);
});

test("LogRing drops the oldest lines at its bound and counts them for who missed them", () => {
  const log = ring(700, 1_000);
  const lines = log.from(990, 100);
  expect(lines[0]).toEqual({ seq: 990, stream: "lost", at_ms: 7, line: "1" });
  expect(lines.slice(1).map(({ seq }) => seq)).toEqual([991, 992, 993, 994, 995, 996, 997, 998, 999]);
  expect(log.from(991, 100)).toHaveLength(9);
  expect(log.counts).toEqual({ lines: 1_000, dropped: 991 });
});

test("LogRing keeps one line whatever its length", () => {
  const log = new LogRing(() => 0, 10);
  log.add("stdout", "x".repeat(100));
  expect(log.from(0, 1)).toHaveLength(1);
});

test("LogRing wakes who waits for more, at a line and at its close", async () => {
  const log = ring(1_000, 0);
  const line = log.more();
  log.add("stderr", "x");
  await line;
  const end = log.more();
  log.close();
  await end;
  expect(log.closed).toBe(true);
});
