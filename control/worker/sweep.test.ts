import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { MachineState } from "../contract/machine.ts";
import { orphansOf } from "./sweep.ts";

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
