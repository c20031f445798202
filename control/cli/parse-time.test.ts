import { expect, test } from "bun:test";
import { parseTime } from "./parse-time.ts";

const NOW = Date.parse("2026-11-28T20:00:00Z");

test("parseTime() reads RFC 3339 and how long ago it was", () => {
  expect(parseTime("2026-11-28T19:34:05Z", NOW)).toBe(Date.parse("2026-11-28T19:34:05Z"));
  expect(parseTime("2026-11-28T19:34:05.250+01:00", NOW)).toBe(Date.parse("2026-11-28T18:34:05.250Z"));
  expect(parseTime("5m ago", NOW)).toBe(NOW - 300_000);
  expect(["90s", "2h ago", "1 d ago"].map((text) => NOW - parseTime(text, NOW))).toEqual(
    [90_000, 7_200_000, 86_400_000],
  );
});

test("parseTime() refuses what is none, and what has not come", () => {
  for (
    const text of [
      "",
      "now",
      "5 minutes ago",
      "-5m",
      "2026-11-28",
      "2026-13-28T00:00:00Z",
      "2026-11-28T20:00:01Z",
    ]
  ) {
    expect(() => parseTime(text, NOW), text).toThrow("is not a time in the past");
  }
});
