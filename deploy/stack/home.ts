/**
 * Where one stack's things lie. State is in GODWIT_HOME; sockets and pid files are in a short run folder named by a hash of
 * the home, because unix sockets stop at 108 bytes and a home may be 120. The same hash begins every kernel name of the
 * stack, so two stacks on one host never meet and `down` finds what is its own.
 */
import { createHash } from "node:crypto";
import { existsSync, realpathSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";

export interface Home {
  readonly folder: string;
  /** SHA-256 of the folder's real path, 64 hexadecimal digits. */
  readonly hash: string;
  /** `gw` and the hash's first six digits. */
  readonly prefix: string;
  readonly runFolder: string;
  readonly logs: string;
  readonly recordFile: string;
  readonly secretsFile: string;
  readonly cliFile: string;
  readonly guest: string;
  readonly supervisorSocket: string;
  readonly workerSocket: string;
  /** Where the worker listens for the edge. */
  readonly edgeSocket: string;
  /** Where the membership agent tells the edge which hosts are dead. */
  readonly membershipSocket: string;
  /** Where the replica beside control says how it is. */
  readonly snapshotsSocket: string;
  /** Where the edge's replica answers queries. */
  readonly replicaSocket: string;
}

/** @param rootless where the run folder is below the temporary folder, because /run is root's */
export function homeAt(folder: string, rootless = process.getuid?.() !== 0): Home {
  const real = realPathOf(resolve(folder));
  const hash = createHash("sha256").update(real).digest("hex");
  const runFolder = join(rootless ? tmpdir() : "/run", `godwit-${hash.slice(0, 6)}`);
  return {
    folder: real,
    hash,
    prefix: `gw${hash.slice(0, 6)}`,
    runFolder,
    logs: join(real, "logs"),
    recordFile: join(real, "home.json"),
    secretsFile: join(real, "secrets.json"),
    cliFile: join(real, "cli.json"),
    guest: join(real, "guest"),
    supervisorSocket: join(runFolder, "supervisor.sock"),
    workerSocket: join(runFolder, "worker.sock"),
    edgeSocket: join(runFolder, "edge.sock"),
    membershipSocket: join(runFolder, "membership.sock"),
    snapshotsSocket: join(runFolder, "snapshots.sock"),
    replicaSocket: join(runFolder, "replica.sock"),
  };
}

/** GODWIT_HOME, else `.godwit` in the user's home. */
export function homeFromEnvironment(env: Record<string, string | undefined> = process.env): Home {
  const named = env.GODWIT_HOME;
  return homeAt(named === undefined || named === "" ? join(homedir(), ".godwit") : named);
}

/** realpath(3) that also works where the last parts do not exist (yet, or any more). */
function realPathOf(path: string): string {
  if (existsSync(path)) return realpathSync(path);
  const parent = dirname(path);
  return parent === path ? path : join(realPathOf(parent), basename(path));
}
