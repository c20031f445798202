/** What a failed start or resume is called, and what to do, from the words of whoever refused it. */
import { GodwitError, messageOf } from "../../../contract/errors.ts";
import type { VmSpec } from "../driver.ts";

/** A failure that has a name already keeps it. */
export function startFailure(spec: VmSpec, error: unknown): GodwitError {
  const said = messageOf(error);
  if (error instanceof GodwitError && !["vmm.api_refused", "vmm.api_failed"].includes(error.code)) {
    return error;
  }
  const [what, hint] = reasonOf(spec, said);
  return new GodwitError("vmm.start_failed", `Cannot start machine ${spec.machineId}: ${what} (${said})`, {
    fault: "us",
    retryable: true,
    hint,
    cause: error,
  });
}

export function resumeFailure(spec: VmSpec, error: unknown): GodwitError {
  const message = `Cannot resume machine ${spec.machineId}: ${messageOf(error)}`;
  return new GodwitError("vmm.resume_failed", message, {
    fault: "us",
    hint: "its memory is given up; a start boots it anew",
    cause: error,
  });
}

/** Firecracker's own words (v1.16.1: TapError, StartMicrovmError), which name no tap where it is gone. */
function reasonOf(spec: VmSpec, said: string): [what: string, hint: string] {
  if (spec.link !== null && /tap device|TUN\/TAP|\/dev\/net\/tun/i.test(said)) {
    return [
      `the tap ${spec.link.name} is in use or gone`,
      "see which process holds it: `ip -details link`",
    ];
  }
  if (/guest memory|Cannot allocate memory|os error 12/i.test(said)) {
    return [
      `the host has no ${spec.guest.memory_mb} MB left for it`,
      "stop other machines or choose a smaller guest",
    ];
  }
  return ["Firecracker refused it", "its log is firecracker.log in the machine's folder"];
}
