/**
 * A replica of 1,000,000 machines, as in production: a replicator's process with its own intervals, 10,000 owners that publish
 * a digest every 15 s. What is wrong in its file is found and healed within a minute. The file is damaged where that
 * takes longest to be found: just behind the pass that reads it.
 */
import { afterAll, expect, test } from "bun:test";
import { Database } from "bun:sqlite";
import {
  closeSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readlinkSync,
  readSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { regionStream } from "../../control/contract/events.ts";
import type { MachineRow } from "../../control/contract/rows.ts";
import type { ReplicaStatus } from "../../edge/replica/replica.ts";
import { planOf, REGION, type Row, tableRows } from "../bench/table-rows.ts";
import { startOwnRedis } from "../servers/testbed.ts";
import { Fleet } from "./replication/fleet.ts";

const MACHINES = 1_000_000;
/** The minute, from the damage to a generation without it that serves. */
const HEALED_MS_MAX = 60_000;
/** Two generations' worth of sums and caches, and what a read of the streams brings. */
const RSS_MB_MAX = 700;
const CAUGHT_UP_MS_MAX = 120_000;
const POLL_MS = 1_000;
const PROGRAM = join(import.meta.dir, "../../edge/main.ts");

const folder = mkdtempSync(join(tmpdir(), "godwit-million-"));
const file = join(folder, "replica.sqlite");
const socket = join(folder, "admin.sock");
const cleanups: (() => unknown)[] = [];
afterAll(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
  rmSync(folder, { recursive: true, force: true });
}, 60_000);

test(
  "a replica of 1,000,000 machines finds what is wrong with it, and is healed within a minute",
  async () => {
    const server = await startOwnRedis();
    cleanups.push(() => server.stop());
    const admin = new Redis(server.urlOf("admin"), { protocol: 2 });
    cleanups.push(() => admin.disconnect());
    const fleet = new Fleet(admin);
    await fleet.publish(tableRows(planOf(MACHINES)));
    const edgeUrl = new URL(server.urlOf("edge"));
    const passwordFile = join(folder, "password");
    writeFileSync(passwordFile, edgeUrl.password, { mode: 0o600 });
    edgeUrl.password = "";
    let replicator = await Replicator.start(edgeUrl.href, passwordFile);
    cleanups.push(() => replicator.stop());
    fleet.startDigests();
    cleanups.push(() => fleet.pauseDigests());
    await replicator.until(({ digests, scrub }) => digests.owners === fleet.owners && scrub !== null);
    const { digests, scrub, tables } = await replicator.status();
    expect(tables.machines).toEqual({ rows: MACHINES, tombstones: 0 });
    expect(digests.differing).toBe(0);
    console.log(
      `${fleet.owners} owners; a pass over the file takes ${scrub!.took_ms} ms, ${replicator.memory()}`,
    );

    const victim = one("SELECT key, epoch, seq, row FROM machines ORDER BY key DESC LIMIT 1");
    const row = JSON.parse(victim.row) as MachineRow;

    await replicator.nextPass();
    flip(`"id":"${row.id}"`, `"id":"${row.id.slice(0, -1)}x"`);
    await healed("a flipped byte", "scrub", Date.now());

    await replicator.nextPass();
    stranger((database) => database.run("DELETE FROM machines WHERE key = ?", [victim.key]));
    await healed("a deleted row", "scrub", Date.now());

    await fleet.pauseDigests();
    await replicator.stop();
    const changed: Row = { table: "machines", key: victim.key, row: { ...row, state: "stopped" } };
    const skipped = await fleet.change(changed, { epoch: victim.epoch, seq: victim.seq });
    stranger((database) =>
      database.run("UPDATE streams SET position = ?, furthest = ? WHERE name = ?", [
        ...[skipped, skipped, regionStream(REGION)],
      ])
    );
    const startedMs = Date.now();
    replicator = await Replicator.start(edgeUrl.href, passwordFile);
    fleet.startDigests();
    row.state = "stopped";
    await healed("a skipped event", "digest", startedMs);

    async function healed(what: string, kind: string, damagedMs: number): Promise<void> {
      const count = (await replicator.status()).bootstraps;
      await replicator.until(({ bootstraps, healing }) => bootstraps > count && healing === null);
      const { incidents, last_bootstrap, digests } = await replicator.status();
      const [incident] = incidents;
      const [foundMs, healedMs] = [incident!.at_ms - damagedMs, incident!.healed_ms! - damagedMs];
      console.log(
        `${what}: found after ${seconds(foundMs)}, healed after ${seconds(healedMs)} (${
          last_bootstrap!.took_ms
        } ms for ` +
          `the generation), ${replicator.memory()}`,
      );
      expect(incident).toMatchObject({ kind });
      expect(last_bootstrap!.differences).toMatchObject([{ table: "machines", key: victim.key }]);
      expect(digests.differing).toBe(0);
      expect(JSON.parse(one("SELECT row FROM machines WHERE key = ?", victim.key).row)).toEqual(row);
      expect(one("SELECT count(*) AS rows FROM machines WHERE deleted = 0").rows).toBe(MACHINES);
      expect(healedMs).toBeLessThan(HEALED_MS_MAX);
      expect(replicator.peakMb()).toBeLessThan(RSS_MB_MAX);
    }
  },
  15 * 60_000,
);

/** `edge/main.ts replica` as a process, with production's patience. */
class Replicator {
  readonly #child: Bun.Subprocess;

  constructor(child: Bun.Subprocess) {
    this.#child = child;
  }

  static async start(redis: string, passwordFile: string): Promise<Replicator> {
    const log = join(folder, "replicator.log");
    const child = Bun.spawn([
      ...[process.execPath, PROGRAM, "replica", "--redis", redis, "--redis-password-file", passwordFile],
      ...["--file", file, "--admin", socket, "--json", "--log-level", "warn"],
    ], { stdio: ["ignore", "pipe", openSync(log, "a")] });
    const startedMs = performance.now();
    const late = setTimeout(() => child.kill(), CAUGHT_UP_MS_MAX);
    let text = "";
    const decoder = new TextDecoder();
    for await (const chunk of child.stdout as ReadableStream<Uint8Array>) {
      text += decoder.decode(chunk, { stream: true });
      if (text.includes(`"event":"caught_up"`)) break;
    }
    clearTimeout(late);
    if (child.exitCode !== null) throw new Error(`the replicator ended: ${readFileSync(log, "utf8")}`);
    console.log(`caught up after ${seconds(performance.now() - startedMs)}`);
    return new Replicator(child);
  }

  async stop(): Promise<void> {
    this.#child.kill("SIGTERM");
    await this.#child.exited;
  }

  async status(): Promise<ReplicaStatus> {
    return await (await fetch("http://replica/replica", { unix: socket })).json() as ReplicaStatus;
  }

  /** Bounded by the test. */
  async until(isSo: (status: ReplicaStatus) => boolean): Promise<void> {
    while (!isSo(await this.status())) await Bun.sleep(POLL_MS);
  }

  /** A pass over the file has just ended, so that whatever is wrong from now on is met by the next one at its end. */
  async nextPass(): Promise<void> {
    const before = (await this.status()).scrub?.at_ms;
    await this.until(({ scrub }) => scrub !== null && scrub.at_ms !== before);
  }

  /** `VmHWM` of proc_pid_status(5). */
  peakMb(): number {
    return this.#memory("VmHWM");
  }
  memory(): string {
    return `${this.#memory("VmRSS")} MB resident, ${this.#memory("VmHWM")} MB at the most`;
  }
  #memory(name: string): number {
    const text = readFileSync(`/proc/${this.#child.pid}/status`, "utf8");
    return Math.round(Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(text)?.[1]) / 1_024);
  }
}

// deno-lint-ignore no-explicit-any -- a row of SQL
function one(sql: string, ...values: string[]): any {
  const database = new Database(file, { readonly: true });
  try {
    return database.query(sql).get(...values);
  } finally {
    database.close();
  }
}

/** Somebody else writes the file. */
function stranger(change: (database: Database) => void): void {
  const database = new Database(file);
  try {
    database.run("PRAGMA busy_timeout = 5000");
    change(database);
  } finally {
    database.close();
  }
}

/** In the database itself, not in its log. */
function flip(from: string, to: string): void {
  stranger((database) => {
    while ((database.query("PRAGMA wal_checkpoint(TRUNCATE)").get() as { busy: number }).busy !== 0);
  });
  const descriptor = openSync(join(folder, readlinkSync(file)), "r+");
  const buffer = Buffer.alloc(16 * 1_048_576);
  for (let at = 0;;) {
    const read = readSync(descriptor, buffer, 0, buffer.length, at);
    const found = buffer.subarray(0, read).indexOf(from);
    if (found >= 0) {
      writeSync(descriptor, to, at + found);
      return closeSync(descriptor);
    }
    if (read < buffer.length) throw new Error(`${from} is not in ${file}`);
    at += read - from.length;
  }
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}
