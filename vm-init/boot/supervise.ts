/** Step supervise: waits for the app's end, ends what it left behind, and reads the last of its output. */
import type { GuestExit } from "../../control/contract/guest-api.ts";
import type { LogRing } from "../api/log-ring.ts";
import { countOomKills } from "../child/cgroup.ts";
import type { Child } from "../child/child.ts";
import { describeExit, exitOf } from "../child/exit.ts";
import { killAll, type Stopper } from "../child/stop.ts";
import { within } from "./life.ts";

/** All writers are dead by then, so their pipes end at once; the bound is for a kernel that is slow to kill. */
const DRAIN_WAIT_MS = 1_000;

export async function supervise(
  child: Child,
  stopper: Stopper,
  log: LogRing,
  oomKillsBefore: number,
): Promise<GuestExit> {
  const ended = await child.ended;
  stopper.ended();
  const exit = exitOf(ended, countOomKills() - oomKillsBefore, Date.now());
  killAll();
  await within(DRAIN_WAIT_MS, child.drained);
  log.add("system", describeExit(exit));
  log.close();
  return exit;
}
