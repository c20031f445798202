/** A refused transition as the error that the caller reads. */
import { GodwitError } from "../contract/errors.ts";
import type { MachineState } from "../contract/machine.ts";
import type { Asked, RefusalCode } from "./transition.ts";

const HINTS: { readonly [C in RefusalCode]: string } = {
  "machine.busy": "wait until it has settled (`/wait`), then ask again",
  "machine.not_started": "start it first",
  "machine.destroyed": "create a new machine",
};

export function refusal(
  machineId: string,
  state: MachineState,
  asked: Asked,
  refused: { readonly code: RefusalCode; readonly retryable: boolean },
): GodwitError {
  return new GodwitError(refused.code, `Cannot ${asked} machine ${machineId}: it is ${state}`, {
    fault: "client",
    retryable: refused.retryable,
    hint: HINTS[refused.code],
  });
}
