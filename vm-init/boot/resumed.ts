/**
 * What a guest must make good when its memory was saved and taken up again (`POST /v1/resumed`): its clock stood still,
 * and its random pool may be that of another machine that was taken up from the same memory. A container is never saved;
 * it is only told so, for the hook's sake.
 */
import type { ResumedAnswer } from "../../control/contract/guest-api.ts";
import { RESUME_ENTROPY_CHARS_MAX } from "../../control/contract/guest-limits.ts";
import { setClock } from "../system/clock.ts";
import { BootError } from "../system/error.ts";
import { addEntropy } from "../system/random.ts";
import type { Mode } from "./run-config.ts";

/** The body of `ResumedRequest`, which no schema has checked. */
export type ResumedBody = Readonly<Record<string, unknown>>;

/** Renews clock and random pool, then calls `hook`. */
export function resumed(body: ResumedBody, mode: Mode, hook: () => void): ResumedAnswer {
  const { host_clock_ms, entropy } = body;
  if (typeof host_clock_ms !== "number" || !(host_clock_ms > 0)) {
    throw new BootError("Cannot resume: the body must hold host_clock_ms");
  }
  if (typeof entropy !== "string" || entropy.length === 0 || entropy.length > RESUME_ENTROPY_CHARS_MAX) {
    throw new BootError(
      `Cannot resume: the body must hold entropy, base64 of at most ${RESUME_ENTROPY_CHARS_MAX} characters`,
    );
  }
  let stepMs = 0;
  if (mode === "vm") {
    // The pool first: a program that asks for numbers at the new time must not get the old ones.
    addEntropy(Buffer.from(entropy, "base64"));
    stepMs = Math.round(host_clock_ms - Date.now());
    setClock(host_clock_ms);
  }
  hook();
  return { clock_step_ms: stepMs };
}
