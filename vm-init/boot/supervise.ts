/** Step supervise: waits for the app's end, ends what it left behind, and reads the last of its output. */
import type { GuestExit } from "../../control/contract/guest-api.ts";
import type { RunConfig } from "../../control/contract/run-config.ts";
import type { LogRing } from "../api/log-ring.ts";
import { type OomCounts, oomSince } from "../child/ooms.ts";
import type { Child } from "../child/child.ts";
import { describeExit, exitOf } from "../child/exit.ts";
import { killAll, type Stopper } from "../child/stop.ts";
import { within } from "./life.ts";

/** All writers are dead by then, so their pipes end at once; the bound is for a kernel that is slow to kill. */
const DRAIN_WAIT_MS = 1_000;

/** The first of the processes to end speaks for the app; the others are then stopped as the machine would be. */
export async function supervise(
  children: readonly Child[],
  stop: RunConfig["stop"],
  stopper: Stopper,
  log: LogRing,
  before: OomCounts,
): Promise<Omit<GuestExit, "run">> {
  const first = await Promise.race(
    children.map((child) => child.ended.then((ended) => ({ child, ended }))),
  );
  const exit = exitOf(first.ended, oomSince(before), Date.now());
  const others = children.filter((child) => child !== first.child);
  if (others.length > 0) {
    log.add("system", `${first.child.name}: ${describeExit(exit)}; stopping the other processes`);
    stopper.stopOthers(first.child.pid, stop.signal, stop.timeout_s);
    await Promise.all(others.map(({ ended }) => ended));
  }
  stopper.ended();
  killAll();
  await within(DRAIN_WAIT_MS, Promise.all(children.map(({ drained }) => drained)).then(() => {}));
  log.add("system", describeExit(exit));
  log.close();
  return exit;
}
