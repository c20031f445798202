/** What a driver answers to a call that its `can` rules out. */
import { GodwitError } from "../../contract/errors.ts";

export function unsupported(what: "suspend" | "resume", machineId: string, why: string): GodwitError {
  return new GodwitError("vmm.unsupported", `Cannot ${what} machine ${machineId}: ${why}`, {
    fault: "client",
    hint: "stop it instead; machines that are to sleep need a worker that runs them as VMs",
  });
}
