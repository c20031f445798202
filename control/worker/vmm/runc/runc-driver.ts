import type { WorkerConfig } from "../../../contract/process-config.ts";
import type { Vm, VmmDriver, VmmProbe, VmSpec } from "../driver.ts";

export class RuncDriver implements VmmDriver {
  readonly name = "runc";
  readonly linkKind = "veth";
  constructor(readonly guest: WorkerConfig["guest"]) {}
  probe(): Promise<VmmProbe> {
    throw new Error("not written yet");
  }
  start(_spec: VmSpec): Promise<Vm> {
    throw new Error("not written yet");
  }
  adopt(_spec: VmSpec): Promise<Vm | null> {
    throw new Error("not written yet");
  }
  clean(_spec: Pick<VmSpec, "machineId" | "folder" | "runFolder" | "prefix">): Promise<void> {
    throw new Error("not written yet");
  }
  list(_prefix: string): Promise<string[]> {
    throw new Error("not written yet");
  }
}
