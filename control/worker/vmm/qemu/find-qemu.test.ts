import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { halfEnded } from "../half-ended.fixture.ts";
import { argumentsOf, identify, killAndWait } from "../host-process.ts";
import { writeRecord } from "../process-record.ts";
import { endingQemu, findQemu } from "./find-qemu.ts";

const folder = mkdtempSync(join(tmpdir(), "godwit-find-qemu-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const record = join(folder, "qemu.json");
const spec = { machineId: "0123456789abcd", prefix: "gw012345", folder };

test("endingQemu() finds by its record one that has begun to end, which nothing else can tell", async () => {
  const child = await halfEnded();
  const identity = identify(child.pid)!;
  writeRecord(record, { ...identity, console_from: 0 });
  expect(findQemu(spec, record)).toBeNull();
  expect(endingQemu(record)).toMatchObject(identity);
  await killAndWait(identity);
  expect(endingQemu(record)).toBeNull();
});

test("endingQemu() takes no process that runs, whatever the record says", async () => {
  const child = Bun.spawn(["sleep", "60"]);
  // It has none for a moment of its exec.
  while (argumentsOf(child.pid).length === 0) await Bun.sleep(1);
  const identity = identify(child.pid)!;
  writeRecord(record, { ...identity, console_from: 0 });
  expect(endingQemu(record)).toBeNull();
  await killAndWait(identity);
});
