/**
 * As PID 1, vm-init inherits every orphan and must wait for it. `Bun.spawn` waits for its own child; taking that
 * status from under it would lose the exit code. So each ended child is peeked at first, and only foreign ones reaped.
 */
import { type ChildEnd, peekEndedChild, reapChild } from "../system/process.ts";

/** In one go; more wait for the next SIGCHLD, so that a fork bomb cannot hold the event loop. */
const REAPS_MAX = 1_024;

const own = new Set<number>();
let isWatching = false;

/** Keeps the status of a child for `Bun.spawn`, which waits for it. To be called in the same turn as the spawn. */
export function keepOwn({ pid, exited }: { readonly pid: number; readonly exited: Promise<unknown> }): void {
  own.add(pid);
  void exited.then(() => {
    own.delete(pid);
    reapOrphans(own);
  });
  if (isWatching) return;
  isWatching = true;
  process.on("SIGCHLD", () => reapOrphans(own));
}

export interface Waiting {
  peek(): number | null;
  reap(pid: number): ChildEnd;
}

/** Children that vm-init spawned itself, not by `Bun.spawn`, and that somebody waits for. */
const awaited = new Map<number, (end: ChildEnd) => void>();

/** How a child ends. To be called in the same turn in which it was spawned: later its end may be gone. */
export function endOf(pid: number): Promise<ChildEnd> {
  const { promise, resolve } = Promise.withResolvers<ChildEnd>();
  awaited.set(pid, resolve);
  return promise;
}

/** Reaps ended orphans; stops at one of `own`, whose waiter calls again after it. Returns how many it reaped. */
export function reapOrphans(
  own: ReadonlySet<number>,
  waiting: Waiting = { peek: peekEndedChild, reap: reapChild },
): number {
  for (let reaped = 0; reaped < REAPS_MAX; reaped++) {
    const pid = waiting.peek();
    if (pid === null || own.has(pid)) return reaped;
    const end = waiting.reap(pid);
    awaited.get(pid)?.(end);
    awaited.delete(pid);
  }
  return REAPS_MAX;
}
