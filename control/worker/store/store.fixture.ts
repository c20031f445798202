/** A worker's store in memory, and machines for it. */
import { MachineSpec } from "../../contract/machine.ts";
import { newMachineId, newRowId } from "../../contract/names.ts";
import { Store } from "./store.ts";

export function aStore(now: () => number = Date.now): Store {
  return new Store({ file: ":memory:", host_id: "h1", region: "dev", vmm: "runc", now });
}

export function aMachineSpec(change: Partial<MachineSpec> = {}): MachineSpec {
  return MachineSpec.parse({
    schema: 1,
    id: newMachineId(),
    org_id: newRowId(),
    app_id: newRowId(),
    app_name: "test",
    release_id: newRowId(),
    region: "dev",
    image: { ref: "r/i:t", digest: `sha256:${"a".repeat(64)}` },
    guest: {},
    env: { SECRET: "canary" },
    services: [],
    ...change,
  });
}
