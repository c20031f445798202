import { expect, test } from "bun:test";
import { endOf, reapOrphans } from "./reap.ts";

function ended(...pids: number[]) {
  const reaped: number[] = [];
  const reap = (pid: number) => {
    reaped.push(pid);
    pids.shift();
    return { exitCode: pid, signal: null };
  };
  return { reaped, peek: () => pids[0] ?? null, reap };
}

test("reapOrphans() reaps every ended process that it does not own", () => {
  const waiting = ended(7, 8, 9);
  expect(reapOrphans(new Set(), waiting)).toBe(3);
  expect(waiting.reaped).toEqual([7, 8, 9]);
});

test("reapOrphans() stops at its own child and leaves the status to whoever waits for it", () => {
  const waiting = ended(7, 42, 9);
  expect(reapOrphans(new Set([42]), waiting)).toBe(1);
  expect(waiting.reaped).toEqual([7]);
});

test("reapOrphans() lets the event loop in between after 1024", () => {
  expect(reapOrphans(new Set(), { peek: () => 5, reap: () => ({ exitCode: 0, signal: null }) })).toBe(1_024);
});

test("endOf() hears of a child that vm-init spawned by itself", async () => {
  const end = endOf(8);
  reapOrphans(new Set(), ended(7, 8));
  expect(await end).toEqual({ exitCode: 8, signal: null });
});
