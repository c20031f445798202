/** `edge/main.ts replica` as a process: how long until it has all, and how much memory that took at most. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { GodwitError } from "../../../control/contract/errors.ts";
import type { BenchRedis } from "./servers.ts";

const PROGRAM = join(import.meta.dir, "../../../edge/main.ts");

export interface LoneRun {
  /** From the start of its process until it had caught up. */
  readonly seconds: number;
  readonly rows: number;
  readonly peakMemoryMb: number;
  /** Who served the snapshot that it began with; null: the streams were read. */
  readonly snapshotFrom: string | null;
}

/** @param more options of the command */
export async function runLoneReplica(
  redis: BenchRedis,
  file: string,
  more: readonly string[] = [],
): Promise<LoneRun> {
  const { run, stop } = await startLoneReplica(redis, file, more);
  await stop();
  return run;
}

/** Resolves once it has caught up; it runs on until it is stopped. */
export async function startLoneReplica(
  redis: BenchRedis,
  file: string,
  more: readonly string[] = [],
): Promise<{ readonly run: LoneRun; stop(): Promise<void> }> {
  const url = new URL(redis.server.urlOf("edge"));
  url.password = "";
  const startedMs = performance.now();
  const child = Bun.spawn([
    ...[process.execPath, PROGRAM, "replica", "--redis", url.href, "--file", file],
    ...["--redis-password-file", redis.passwordFile, "--json", "--log-level", "error", ...more],
  ], { stdio: ["ignore", "pipe", "inherit"] });
  const stop = async () => {
    child.kill("SIGTERM");
    await child.exited;
  };
  for await (const { event, rows, snapshot_from } of eventsOf(child.stdout)) {
    if (event !== "caught_up") continue;
    const seconds = (performance.now() - startedMs) / 1_000;
    const snapshotFrom = snapshot_from === null ? null : String(snapshot_from);
    return {
      run: { seconds, rows: Number(rows), peakMemoryMb: peakMemoryMb(child.pid), snapshotFrom },
      stop,
    };
  }
  await stop();
  throw new GodwitError("bench.child_failed", `edge/main.ts replica ended with ${child.exitCode}`, {
    fault: "us",
    hint: "what it said stands above",
  });
}

async function* eventsOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<Record<string, unknown>> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of stream) {
    const lines = (text + decoder.decode(chunk, { stream: true })).split("\n");
    text = lines.pop()!;
    for (const line of lines) yield JSON.parse(line);
  }
}

/** `VmHWM` of proc_pid_status(5). */
function peakMemoryMb(pid: number): number {
  const found = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Math.round(Number(found?.[1] ?? 0) / 1_024);
}
