/** Whether a machine whose process ended unasked runs again, and after which wait (the reference, section 2.4). Pure. */
import type { Restart } from "../contract/machine.ts";
import { type Backoff, backoffMs } from "./backoff.ts";

/** `max_retries` counts within this time. */
export const RESTART_WINDOW_MS = 300_000;
/**
 * The tenth restart in a row comes within two and a half minutes, well inside the window: a process that ends at once
 * comes to rest. One that runs for half a minute each time is started again without end.
 */
export const RESTART_BACKOFF: Backoff = { firstMs: 500, capMs: 30_000 };

/** An end that nobody asked for; both null where the VM died without a word. */
export interface UnaskedEnd {
  readonly exit_code: number | null;
  readonly signal: string | null;
}

export type Verdict =
  | { readonly kind: "restart"; readonly afterMs: number }
  /** `why`: in words, where the policy wanted a restart and its bound was met. */
  | { readonly kind: "rest"; readonly why: string | null };

/** `restartsMs`: when the machine was restarted before, oldest first. */
export function judgeEnd(
  restart: Restart,
  end: UnaskedEnd,
  restartsMs: readonly number[],
  nowMs: number,
  random: () => number,
): Verdict {
  if (restart.policy === "no") return { kind: "rest", why: null };
  const isWell = end.exit_code === 0 && end.signal === null;
  if (restart.policy === "on-failure" && isWell) return { kind: "rest", why: null };
  const recent = restartsMs.filter((at) => at > nowMs - RESTART_WINDOW_MS).length;
  if (restart.policy === "on-failure" && recent >= restart.max_retries) {
    return { kind: "rest", why: `it was restarted ${recent} times in ${RESTART_WINDOW_MS / 60_000} minutes` };
  }
  return { kind: "restart", afterMs: Math.round(backoffMs(RESTART_BACKOFF, recent + 1, random)) };
}
