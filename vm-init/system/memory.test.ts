import { expect, test } from "bun:test";
import { kilobytesOf } from "./memory.ts";

test("kilobytesOf() reads a line of /proc/meminfo or /proc/PID/status", () => {
  const text = "VmRSS:\t   38168 kB\nRssAnon:\t    7008 kB\nThreads:\t4\n";
  expect(kilobytesOf(text, "RssAnon")).toBe(7_008);
  expect(kilobytesOf(text, "Threads")).toBeNull();
  expect(kilobytesOf(text, "Rss")).toBeNull();
});
