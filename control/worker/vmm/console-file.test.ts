import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { consoleFile, consoleSize, readConsoleTail } from "./console-file.ts";
import { CONSOLE_TAIL_BYTES } from "./driver.ts";

const folder = mkdtempSync(join(tmpdir(), "godwit-console-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("readConsoleTail() is empty where there is no console", () => {
  expect(readConsoleTail(join(folder, "none"))).toBe("");
  expect(consoleSize(join(folder, "none"))).toBe(0);
});

test("readConsoleTail() gives the end, bounded, and of this boot alone", () => {
  writeFileSync(consoleFile(folder), "x".repeat(100_000) + "old\nnew\n");
  expect(readConsoleTail(folder).length).toBe(CONSOLE_TAIL_BYTES);
  expect(readConsoleTail(folder, 100_004)).toBe("new\n");
});

test("readConsoleTail() reads all of a console that was cut since", () => {
  writeFileSync(consoleFile(folder), "short\n");
  expect(readConsoleTail(folder, 100_004)).toBe("short\n");
});
