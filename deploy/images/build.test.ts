import { expect, test } from "bun:test";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { buildGuest } from "./build.ts";
import { testGuest } from "./testbed.ts";

const BUILD_WAIT_MS = 300_000;

test("buildGuest() gives every file of a guest", async () => {
  const { hash, initFolder, ...files } = await testGuest();
  expect(hash).toMatch(/^[0-9a-f]{16}$/);
  for (const file of [...Object.values(files), join(initFolder, "vm-init"), join(initFolder, "ld.so")]) {
    expect(Bun.file(file).size).toBeGreaterThan(0);
  }
}, BUILD_WAIT_MS);

test("buildGuest() builds nothing twice, from two callers at once neither", async () => {
  await testGuest();
  const folder = join(tmpdir(), `godwit-test-guest-${userInfo().uid}`);
  const lines: string[] = [];
  const onStep = (line: string) => lines.push(line);
  const [one, two] = await Promise.all([buildGuest({ folder, onStep }), buildGuest({ folder, onStep })]);
  expect(one).toEqual(two);
  expect(lines.filter((line) => line.startsWith("vm-init"))).toEqual([]);
}, BUILD_WAIT_MS);
