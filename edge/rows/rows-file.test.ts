import { afterAll, expect, test } from "bun:test";
import { appendFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { idOf, until } from "../edge.fixture.ts";
import type { RowChange } from "../routes/route-table.ts";
import { LINE_BYTES_MAX, RowsFile } from "./rows-file.ts";

const folder = mkdtempSync(join(tmpdir(), "godwit-rows-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const line = (host: string) =>
  JSON.stringify({ table: "hostnames", row: { hostname: host, app_id: idOf("app") } }) + "\n";
const gone = (host: string) => JSON.stringify({ table: "hostnames", key: host, deleted: true }) + "\n";

async function follow(text: string) {
  const file = join(folder, crypto.randomUUID());
  writeFileSync(file, text);
  const routed = new Set<string>();
  const rows = new RowsFile({
    file,
    log: pino({ level: "silent" }),
    nowMs: () => performance.now(),
    onChanges(changes: RowChange[]) {
      for (const { key, row } of changes) row === null ? routed.delete(key) : routed.add(key);
    },
  });
  await rows.start();
  return { file, rows, routed };
}

test("rows file is read, then followed as it grows, also by half lines", async () => {
  const { file, rows, routed } = await follow(line("a.test") + line("b.test"));
  expect([...routed]).toEqual(["a.test", "b.test"]);
  const more = line("c.test");
  appendFileSync(file, gone("a.test") + more.slice(0, 20));
  await until(() => !routed.has("a.test"));
  expect(routed.has("c.test")).toBe(false);
  appendFileSync(file, more.slice(20));
  await until(() => routed.has("c.test"));
  expect(rows.has("hostnames", "c.test")).toBe(true);
  expect(rows.has("hostnames", "a.test")).toBe(false);
  await rows.stop();
});

test("rows file that was replaced or cut is read anew, and what it no longer has is gone", async () => {
  const { file, rows, routed } = await follow(line("a.test") + line("b.test"));
  const next = `${file}.next`;
  writeFileSync(next, line("b.test") + line("new-and-longer.test") + line("d.test"));
  renameSync(next, file);
  await until(() => routed.has("d.test") && !routed.has("a.test"));
  expect([...routed].sort()).toEqual(["b.test", "d.test", "new-and-longer.test"]);
  writeFileSync(file, line("e.test"));
  await until(() => routed.size === 1 && routed.has("e.test"));
  expect(rows.status()).toMatchObject({ from: "file", connected: true, quarantined: 0 });
  await rows.stop();
});

test("rows file with bad lines is read past them, and counts them", async () => {
  const bad = [
    "{",
    '{"table":"nothing"}',
    '{"table":"hostnames","row":{}}',
    '{"table":"apps","deleted":true}',
  ];
  const { rows, routed } = await follow(
    `${bad.join("\n")}\n${"x".repeat(2 * LINE_BYTES_MAX)}\n\n${line("a.test")}`,
  );
  expect([...routed]).toEqual(["a.test"]);
  expect(rows.status().quarantined).toBe(5);
  await rows.stop();
});

test("rows file that is missing is waited for", async () => {
  const file = join(folder, "later");
  const routed: string[] = [];
  const rows = new RowsFile({
    file,
    log: pino({ level: "silent" }),
    nowMs: () => performance.now(),
    onChanges: (changes) => routed.push(...changes.map(({ key }) => key)),
  });
  await rows.start();
  expect(rows.status()).toMatchObject({ connected: false });
  writeFileSync(file, line("a.test"));
  await until(() => routed.length === 1 && rows.status().connected);
  await rows.stop();
});
