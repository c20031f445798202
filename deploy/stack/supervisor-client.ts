/** Speaks to the supervisor of a home, and starts it: detached, in a session of its own, so that it outlives `up`. */
import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync } from "node:fs";
import { join } from "node:path";
import { GodwitError } from "../../control/contract/errors.ts";
import type { Home } from "./home.ts";
import type { PartStatus, SupervisorStatus } from "./supervisor.ts";

const ANSWER_WAIT_MS = 2_000;
/** Stopping all parts, each with its own patience. */
const STOP_WAIT_MS = 90_000;
const SPAWN_WAIT_MS = 15_000;
const POLL_MS = 25;

export const supervisorLog = (home: Home) => join(home.logs, "supervisor.log");

/** Null where no supervisor answers. */
export async function askSupervisor(home: Home): Promise<SupervisorStatus | null> {
  try {
    const answer = await fetch("http://supervisor/status", {
      unix: home.supervisorSocket,
      signal: AbortSignal.timeout(ANSWER_WAIT_MS),
    });
    return await answer.json() as SupervisorStatus;
  } catch {
    return null; // no socket, or nobody behind it
  }
}

/** True where a supervisor stopped everything and ended. */
export async function stopSupervisor(home: Home): Promise<boolean> {
  try {
    const answer = await fetch("http://supervisor/stop", {
      unix: home.supervisorSocket,
      method: "POST",
      signal: AbortSignal.timeout(STOP_WAIT_MS),
    });
    return answer.ok;
  } catch {
    return false; // gone, or stuck: the caller ends the recorded processes one by one
  }
}

/** @param signal Ends a supervisor that does not answer yet; from then on it has to be asked to stop. */
export async function spawnSupervisor(home: Home, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  mkdirSync(home.logs, { recursive: true, mode: 0o700 });
  mkdirSync(home.runFolder, { recursive: true, mode: 0o700 });
  const log = openSync(supervisorLog(home), "a", 0o600);
  const child = spawn(process.execPath, [join(import.meta.dir, "supervise.ts"), "--home", home.folder], {
    cwd: "/",
    detached: true,
    stdio: ["ignore", log, log],
    env: { ...process.env },
  });
  closeSync(log);
  child.unref();
  let ended = false;
  child.once("exit", () => ended = true);
  const end = () => child.kill("SIGTERM");
  signal?.addEventListener("abort", end, { once: true });
  const deadline = Date.now() + SPAWN_WAIT_MS;
  while (await askSupervisor(home) === null) {
    signal?.throwIfAborted();
    if (!ended && Date.now() < deadline) {
      await Bun.sleep(POLL_MS);
      continue;
    }
    throw new GodwitError("stack.supervisor", `The supervisor of ${home.folder} did not come up`, {
      fault: "us",
      hint: `its log is ${supervisorLog(home)}`,
    });
  }
  signal?.removeEventListener("abort", end);
}

/** Resolves once the part answers; throws what kept it from that. */
export async function partRuns(home: Home, name: string): Promise<PartStatus> {
  while (true) {
    const status = await askSupervisor(home);
    const part = status?.parts.find((part) => part.name === name);
    if (part?.state === "running") return part;
    if (status === null || part === undefined || status.state === "failed" || part.state === "failed") {
      const log = part?.log ?? supervisorLog(home);
      throw new GodwitError(
        "stack.part_failed",
        `${name}: ${part?.error?.message ?? "its supervisor ended"}`,
        {
          fault: "us",
          hint: `read ${log}`,
        },
      );
    }
    await Bun.sleep(POLL_MS);
  }
}
