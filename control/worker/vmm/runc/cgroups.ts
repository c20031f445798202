/** The container's cgroup, one folder in each hierarchy of a v1 or hybrid host, one in all on v2. */
import { existsSync, readdirSync, readFileSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { identify, killAndWait } from "../host-process.ts";

const ROOT = "/sys/fs/cgroup";
/** The kernel frees a cgroup's last task a moment after the task is gone. */
const REMOVE_TRIES_MAX = 100;
const REMOVE_RETRY_MS = 10;

/** Names of the cgroups at the top of any hierarchy. */
export function cgroupNames(): string[] {
  return [...new Set(hierarchies().flatMap((folder) => readdirSync(folder)))];
}

export async function killAllIn(name: string): Promise<void> {
  const pids = new Set(foldersOf(name).flatMap((folder) => pidsIn(folder)));
  await Promise.all([...pids].flatMap((pid) => identify(pid) ?? []).map(killAndWait));
}

export async function removeCgroups(name: string): Promise<void> {
  for (const folder of foldersOf(name)) {
    for (let tries = 1; existsSync(folder); tries++) {
      try {
        rmdirSync(folder);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EBUSY" || tries === REMOVE_TRIES_MAX) throw error;
        await delay(REMOVE_RETRY_MS);
      }
    }
  }
}

function hierarchies(): string[] {
  if (existsSync(join(ROOT, "cgroup.procs"))) return [ROOT];
  return readdirSync(ROOT).map((name) => join(ROOT, name)).filter((path) =>
    existsSync(join(path, "cgroup.procs"))
  );
}

function foldersOf(name: string): string[] {
  return hierarchies().map((hierarchy) => join(hierarchy, name)).filter((path) => existsSync(path));
}

function pidsIn(folder: string): number[] {
  return readFileSync(join(folder, "cgroup.procs"), "utf8").split("\n").filter((line) => line !== "").map(
    Number,
  );
}
