import { expect, test } from "bun:test";
import { modeInWords, remotePlace } from "./sftp.ts";

test.each(
  [
    ["file", 0o644, "-rw-r--r--"],
    ["folder", 0o1777, "drwxrwxrwt"],
    ["link", 0o777, "lrwxrwxrwx"],
    ["file", 0o4755, "-rwsr-xr-x"],
    ["file", 0o6644, "-rwSr-Sr--"],
    ["other", 0, "?---------"],
  ] as const,
)("modeInWords() writes a %s of mode %o as ls does", (kind, mode, words) => {
  expect(modeInWords({ kind, mode })).toBe(words);
});

test("remotePlace() gives a folder the file's own name", () => {
  expect(remotePlace("/tmp/", "note")).toBe("/tmp/note");
  expect(remotePlace("/tmp/other", "note")).toBe("/tmp/other");
});
