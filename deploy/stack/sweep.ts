/** Takes down everything that a stack still has on this host, and says what could not be. */
import { rmdirSync } from "node:fs";
import { endProcess, recordOf } from "./identity.ts";
import type { Home } from "./home.ts";
import { describeLeftovers, findLeftovers, type Leftovers } from "./leftovers.ts";

/** Things hang on each other (a mount on a process, a cgroup on its members): look again this often. */
const ROUNDS_MAX = 4;
const PROCESS_PATIENCE_MS = 3_000;

export interface Swept {
  /** What was found and is gone. */
  readonly removed: readonly string[];
  /** What is still there. */
  readonly left: readonly string[];
}

export async function sweep(home: Home): Promise<Swept> {
  const seen = new Set<string>();
  for (let round = 0; round < ROUNDS_MAX; round++) {
    const found = await findLeftovers(home);
    const names = describeLeftovers(found);
    if (names.length === 0) break;
    for (const name of names) seen.add(name);
    await removeOnce(found);
  }
  const left = describeLeftovers(await findLeftovers(home));
  return { removed: [...seen].filter((name) => !left.includes(name)), left };
}

async function removeOnce(found: Leftovers): Promise<void> {
  await Promise.all(found.processes.map(async ({ pid, name }) => {
    const record = recordOf(name, pid);
    if (record !== null) await endProcess(record, PROCESS_PATIENCE_MS);
  }));
  for (const name of found.links) await quietly(["ip", "link", "delete", name]);
  for (const name of found.namespaces) await quietly(["ip", "netns", "delete", name]);
  for (const table of found.tables) await quietly(["nft", "delete", "table", ...table.split(" ")]);
  for (const point of found.mounts) {
    if (!await quietly(["umount", point])) await quietly(["umount", "--lazy", point]);
  }
  for (const loop of found.loops) await quietly(["losetup", "--detach", loop]);
  for (const path of found.cgroups) {
    try {
      rmdirSync(path);
    } catch {
      // a member is still ending; the next round tries again, and what stays is reported
    }
  }
}

/** False where the command failed; what stays is found by the next look, so the reason need not be kept. */
async function quietly(argv: string[]): Promise<boolean> {
  const child = Bun.spawn(argv, { stdin: "ignore", stdout: "ignore", stderr: "ignore" });
  return await child.exited === 0;
}
