/** `POST /v1/restart`: the worker has the app run again in this guest. */
import { RESTART_WAIT_MS_MAX } from "../../control/contract/guest-limits.ts";
import type { LogRing } from "../api/log-ring.ts";
import { BootError } from "../system/error.ts";
import type { Life } from "./life.ts";

/** Takes the body of `RestartRequest`, which no schema has checked. Whether the app runs again, or did already. */
export function askRestart(
  body: Readonly<Record<string, unknown>>,
  life: Life,
  log: LogRing,
): boolean {
  const { run, after_ms } = body;
  if (typeof run !== "number" || typeof after_ms !== "number" || !(after_ms >= 0)) {
    throw new BootError("Cannot restart: the body must hold run and after_ms");
  }
  const before = life.run;
  const isTaken = life.restart(run, Math.min(after_ms, RESTART_WAIT_MS_MAX));
  if (life.run > before) {
    // In the same turn as the answer: who asks for lines then must not be told that there are no more.
    log.reopen();
    log.add("system", `restart ${life.run} in ${(after_ms / 1_000).toFixed(1)} s`);
  }
  return isTaken;
}
