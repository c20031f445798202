/** The user's process hears that its machine was resumed, as the run configuration says: by a signal or by a program. */
import type { RunConfig } from "../../control/contract/run-config.ts";
import type { LogRing } from "../api/log-ring.ts";
import type { Stopper } from "../child/stop.ts";
import type { Child } from "../child/child.ts";
import { messageOf } from "../system/error.ts";

/** A hook that fails says so in the machine's log; the resume is none the worse for it. */
export function callResumeHook(
  hook: RunConfig["resume_hook"],
  stopper: Stopper,
  log: LogRing,
  run: (argv: readonly string[]) => Child,
): void {
  if (hook === undefined) return;
  try {
    if ("signal" in hook) {
      if (!stopper.signal(hook.signal)) {
        log.add("system", `resumed; no process runs to be sent ${hook.signal}`);
      }
      return;
    }
    void run(hook.exec).ended.then(({ exitCode, signal }) => {
      if (exitCode !== 0) {
        log.add("system", `the resume hook ${hook.exec[0]} ended with ${signal ?? `status ${exitCode}`}`);
      }
    });
  } catch (error) {
    log.add("system", `the resume hook failed: ${messageOf(error)}`);
  }
}
