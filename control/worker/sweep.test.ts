import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { MachineState } from "../contract/machine.ts";
import type { Host } from "./host.ts";
import { Metrics } from "./metrics.ts";
import { Engine } from "./operations/engine.ts";
import { aStore } from "./store/store.fixture.ts";
import { orphansOf, sweep } from "./sweep.ts";

const states: Record<string, MachineState> = {
  runs: "started",
  starts: "starting",
  stops: "stopping",
  rests: "stopped",
  goes: "destroying",
  gone: "destroyed",
};
const owners = new Map([[0, "runs"], [1, "rests"], [2, "gone"], [3, "goes"]]);
const known = {
  stateOf: (id: string) => states[id] ?? null,
  ownerOf: (index: number) => owners.get(index) ?? null,
};

describe("orphansOf()", () => {
  test("takes VMs and links of machines at rest, gone or unknown, and folders of those gone or unknown", () => {
    const found = {
      vms: [...Object.keys(states), "unknown"],
      links: [0, 1, 2, 3, 9],
      folders: [...Object.keys(states), "unknown"],
    };
    expect(orphansOf(found, known)).toEqual({
      vms: ["rests", "gone", "unknown"],
      links: [1, 2, 9],
      folders: ["gone", "unknown"],
    });
  });

  test("never takes anything of a machine that holds a VM or is on its way", () => {
    const live = fc.constantFrom<MachineState[]>(
      "starting",
      "started",
      "stopping",
      "suspending",
      "destroying",
    );
    fc.assert(fc.property(live, fc.string(), fc.nat(), (state, id, index) => {
      const its = { stateOf: () => state, ownerOf: () => id };
      expect(orphansOf({ vms: [id], links: [index], folders: [id] }, its)).toEqual({
        vms: [],
        links: [],
        folders: [],
      });
    }));
  });
});

describe("sweep()", () => {
  test("removes the others where one cannot be removed", async () => {
    const folder = mkdtempSync(join(tmpdir(), "godwit-sweep-"));
    const store = aStore();
    const gone: unknown[] = [];
    const troubles: unknown[] = [];
    const host = {
      store,
      metrics: new Metrics(),
      config: { state_folder: folder, run_folder: folder, prefix: "gw000000" },
      log: { error: (trouble: unknown) => troubles.push(trouble) },
      driver: {
        list: () => Promise.resolve(["hangs", "goes"]),
        clean: ({ machineId }: { machineId: string }) =>
          machineId === "hangs"
            ? Promise.reject(new Error("it hangs"))
            : Promise.resolve(gone.push(machineId)),
      },
      network: {
        list: () => Promise.resolve([7]),
        detach: (index: number) => Promise.resolve(gone.push(index)),
      },
    } as unknown as Host;
    const engine = new Engine({ store, operations: [], bootsMax: 1, random: () => 0 });
    expect(await sweep(host, engine)).toEqual({ vms: ["goes"], links: [7], folders: [] });
    expect(gone).toEqual(["goes", 7]);
    expect(troubles).toHaveLength(1);
    rmSync(folder, { recursive: true });
  });
});
