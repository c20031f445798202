import { expect, test } from "bun:test";
import { linesAfter } from "./release.ts";

const line = (at: number, message: string) => ({ at: `2026-01-01T00:00:0${at}Z`, message });

test("linesAfter() shows each line once, also when old lines were dropped", () => {
  const progress = [line(1, "pull"), line(2, "boot"), line(3, "boot")];
  expect(linesAfter(progress, null)).toEqual(progress);
  expect(linesAfter(progress, "2026-01-01T00:00:02Z boot")).toEqual([line(3, "boot")]);
  expect(linesAfter(progress, "2026-01-01T00:00:03Z boot")).toEqual([]);
  expect(linesAfter(progress.slice(2), "2026-01-01T00:00:00Z gone")).toEqual([line(3, "boot")]);
});
