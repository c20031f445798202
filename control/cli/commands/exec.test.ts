import { expect, test } from "bun:test";
import { commandOf, envOf } from "./exec.ts";

test("commandOf() takes one word with blanks for a shell's line, and words as they are", () => {
  expect(commandOf(["ls -la /"])).toEqual({ argv: null, shell: "ls -la /" });
  expect(commandOf(["ls"])).toEqual({ argv: ["ls"], shell: null });
  expect(commandOf([" ls "])).toEqual({ argv: [" ls "], shell: null });
  expect(commandOf(["echo", "a b"])).toEqual({ argv: ["echo", "a b"], shell: null });
});

test("envOf() cuts at the first equals sign", () => {
  expect(envOf(["A=b=c", "EMPTY="])).toEqual({ A: "b=c", EMPTY: "" });
  expect(() => envOf(["=x"])).toThrow("not NAME=VALUE");
});
