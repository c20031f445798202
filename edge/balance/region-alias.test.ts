import { expect, test } from "bun:test";
import { regionMatches } from "./region-alias.ts";

test("regionMatches() knows codes, aliases and nothing else", () => {
  expect(regionMatches("fra", "fra")).toBe(true);
  expect(regionMatches("eu", "fra")).toBe(true);
  expect(regionMatches("usa", "iad")).toBe(true);
  expect(regionMatches("na", "yyz")).toBe(true);
  expect(regionMatches("us", "yyz")).toBe(false);
  expect(regionMatches("any", "qqq")).toBe(true);
  expect(regionMatches("eu", "qqq")).toBe(false);
  expect(regionMatches("constructor", "fra")).toBe(false);
});
