import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AccessLog, LOG_BATCH_BYTES, LOG_QUEUE_BYTES_MAX } from "./access-log.ts";

const folder = mkdtempSync(join(tmpdir(), "godwit-log-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** @returns false where the line was dropped */
function add(log: AccessLog, line: string): boolean {
  const place = log.place();
  if (place === null) return false;
  place.text(line);
  place.lines++;
  log.added();
  return true;
}
const numbers = (file: string) =>
  readFileSync(file, "utf8").split("\n").filter((line) => line !== "").map((line) =>
    JSON.parse(line).n as number
  );
const upTo = (count: number) => Array.from({ length: count }, (_, i) => i);

test("AccessLog has written every line when it is closed, in order", async () => {
  const file = join(folder, "order.log");
  const log = await AccessLog.open(file);
  for (let i = 0; i < 20_000; i++) expect(add(log, `{"n":${i}}\n`)).toBe(true);
  await log.close();
  expect(numbers(file)).toEqual(upTo(20_000));
  expect(log.dropped).toBe(0);
});

test("AccessLog drops and counts lines rather than holding them without a bound", async () => {
  const log = await AccessLog.open("/dev/full");
  const line = `{"x":"${"a".repeat(1_000)}"}\n`;
  let refused = 0, taken = 0;
  // In one turn of the loop nothing can be written, so at some point there is no place.
  while (taken * line.length < 2 * LOG_QUEUE_BYTES_MAX && refused < 100) {
    if (add(log, line)) taken++;
    else refused++;
  }
  expect(refused).toBe(100);
  expect(taken * line.length).toBeLessThan(LOG_QUEUE_BYTES_MAX + 2 * LOG_BATCH_BYTES);
  await log.close();
  // Those that had a place are lost as well: the disk is full.
  expect(log.dropped).toBe(refused + taken);
});

test("AccessLog reopened after a rename goes on in a new file and loses no line", async () => {
  const file = join(folder, "rotated.log");
  const log = await AccessLog.open(file);
  let n = 0;
  for (let rotation = 0; rotation < 5; rotation++) {
    for (let i = 0; i < 4_000; i++) add(log, `{"n":${n++}}\n`);
    renameSync(file, `${file}.${rotation}`);
    const reopened = log.reopen();
    for (let i = 0; i < 1_000; i++) add(log, `{"n":${n++}}\n`);
    await reopened;
  }
  add(log, `{"n":${n++}}\n`);
  await log.close();
  const files = [...upTo(5).map((rotation) => `${file}.${rotation}`), file];
  expect(files.flatMap(numbers)).toEqual(upTo(n));
});

test("AccessLog keeps its file where the path cannot be opened again", async () => {
  const file = join(folder, "kept.log");
  const log = await AccessLog.open(file);
  rmSync(file);
  const into = mkdtempSync(join(tmpdir(), "godwit-log-dir-"));
  renameSync(into, file);
  await expect(log.reopen()).rejects.toThrow("EISDIR");
  expect(add(log, `{"n":1}\n`)).toBe(true);
  await log.close();
  expect(log.dropped).toBe(0);
});
