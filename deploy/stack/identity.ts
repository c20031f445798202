/** Which process a record means: pids are used again, so the start time and the boot belong to it. */
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";

export const ProcessRecord = z.object({
  name: z.string(),
  pid: z.number().int().min(2),
  /** Field 22 of /proc/PID/stat, in clock ticks since boot (proc(5)). */
  start_ticks: z.string(),
  boot_id: z.string(),
});
export type ProcessRecord = z.infer<typeof ProcessRecord>;

const KILL_WAIT_MS = 10_000;
const POLL_MS = 20;

/** Start time of a live process; null where it is gone or a zombie. */
export function startTicks(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The name is in parentheses and may hold anything, so fields count from the last one.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" || fields[0] === "X" ? null : fields[19] ?? null;
  } catch {
    return null; // no such process
  }
}

function bootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
}

export function recordOf(name: string, pid: number): ProcessRecord | null {
  const ticks = startTicks(pid);
  return ticks === null ? null : { name, pid, start_ticks: ticks, boot_id: bootId() };
}

export function isAlive(record: ProcessRecord): boolean {
  return record.boot_id === bootId() && startTicks(record.pid) === record.start_ticks;
}

const folderOf = (runFolder: string) => join(runFolder, "processes");

export function writeRecord(runFolder: string, record: ProcessRecord): void {
  mkdirSync(folderOf(runFolder), { recursive: true, mode: 0o700 });
  const file = join(folderOf(runFolder), `${record.name}.json`);
  writeFileSync(`${file}.new`, JSON.stringify(record));
  renameSync(`${file}.new`, file);
}

export function removeRecord(runFolder: string, name: string): void {
  rmSync(join(folderOf(runFolder), `${name}.json`), { force: true });
}

/**
 * The recorded processes that still run, in the order to end them: the supervisor first, so that it starts none of the
 * others again, then the youngest first, because each part leans on those before it.
 */
export function liveRecords(runFolder: string): ProcessRecord[] {
  if (!existsSync(folderOf(runFolder))) return [];
  const records = readdirSync(folderOf(runFolder)).filter((name) => name.endsWith(".json")).flatMap(
    (name) => {
      try {
        return [ProcessRecord.parse(JSON.parse(readFileSync(join(folderOf(runFolder), name), "utf8")))];
      } catch {
        return []; // a record that was cut short by a power loss names nobody; the sweep looks at arguments too
      }
    },
  );
  return records.filter(isAlive).sort((a, b) =>
    Number(b.name === "supervisor") - Number(a.name === "supervisor") ||
    Number(b.start_ticks) - Number(a.start_ticks)
  );
}

/** SIGTERM, then SIGKILL; resolves when the process is gone. Touches no process that took over its pid. */
export async function endProcess(record: ProcessRecord, patienceMs = KILL_WAIT_MS): Promise<void> {
  // PostgreSQL would wait for its clients to leave; SIGINT is its fast shutdown (postgres(1)).
  const kindly = record.name === "postgres" ? "SIGINT" : "SIGTERM";
  for (const [signal, waitMs] of [[kindly, patienceMs], ["SIGKILL", KILL_WAIT_MS]] as const) {
    if (!isAlive(record)) return;
    try {
      process.kill(record.pid, signal);
    } catch {
      return; // it ended between the look and the signal
    }
    const deadline = Date.now() + waitMs;
    while (isAlive(record) && Date.now() < deadline) await Bun.sleep(POLL_MS);
  }
}
