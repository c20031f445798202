import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AccessLog } from "./access-log.ts";

test("AccessLog has written every line when it is closed, in order", async () => {
  const folder = mkdtempSync(join(tmpdir(), "godwit-log-"));
  const file = join(folder, "access.log");
  const log = await AccessLog.open(file);
  for (let i = 0; i < 20_000; i++) log.add(`{"n":${i}}\n`);
  await log.close();
  const lines = readFileSync(file, "utf8").trim().split("\n").map((line) => JSON.parse(line).n);
  expect(lines).toEqual(Array.from({ length: 20_000 }, (_, i) => i));
  rmSync(folder, { recursive: true });
});

test("AccessLog drops and counts lines rather than holding them without a bound", async () => {
  const log = await AccessLog.open("/dev/full");
  const line = `{"x":"${"a".repeat(1_000)}"}\n`;
  for (let i = 0; i < 6_000; i++) log.add(line);
  expect(log.dropped).toBeGreaterThan(0);
  await log.close();
});
