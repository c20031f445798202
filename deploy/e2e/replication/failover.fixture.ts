/** What tests of a Redis that fails over share: its folder and passwords, owners that go on, a replica that has it all. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "../../../edge/edge.fixture.ts";
import type { Cleanups } from "../../../edge/replica/replica.fixture.ts";
import { newPassword } from "../../servers/child.ts";
import type { Owners } from "./owners.fixture.ts";

/** Servers agree, elect and promote; then owners look, publish again and digest, and the replica heals. */
export const WAIT_MS = 60_000;

type Replica = ReturnType<Cleanups["follow"]>["replica"];

export function folderAndPasswords(cleanups: Cleanups, name: string) {
  const folder = mkdtempSync(join(tmpdir(), `godwit-${name}-`));
  cleanups.add(() => rmSync(folder, { recursive: true, force: true }));
  const passwords = { admin: newPassword(), api: newPassword(), worker: newPassword(), edge: newPassword() };
  return { folder, passwords };
}

/** `TABLE KEY` of each, as `Owners.rows()` gives them. */
export function rowsOf(replica: Replica): string[] {
  return replica.stored().map(({ table, key }) => `${table} ${key}`).sort();
}

export async function untilMoreChanges(owners: Owners, more: number): Promise<void> {
  const from = owners.changes;
  await until(() => owners.changes > from + more, WAIT_MS);
}

/** The load ends, and Redis has acknowledged all of it. */
export async function comeToRest(owners: Owners): Promise<void> {
  await owners.endLoad();
  await until(async () => await owners.waiting() === 0, WAIT_MS);
}

export async function untilHealed(replica: Replica, rows: readonly string[]): Promise<void> {
  await until(() => {
    const { healing, digests } = replica.status();
    return healing === null && digests.differing === 0 && Bun.deepEquals(rowsOf(replica), rows);
  }, WAIT_MS);
}

export async function untilItHas(replica: Replica, rows: readonly string[]): Promise<void> {
  await until(() => Bun.deepEquals(rowsOf(replica), rows), WAIT_MS);
}
