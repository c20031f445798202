import { describe, expect, test } from "bun:test";
import { MachineState } from "../contract/machine.ts";
import { isSettledFor, reachable } from "./reach.ts";

describe("reachable()", () => {
  test("finds what a starting machine may become by itself", () => {
    expect([...reachable("starting")].sort()).toEqual([
      "failed",
      "started",
      "starting",
      "stopped",
      "stopping",
    ]);
  });

  test("finds nothing else for a machine at rest", () => {
    for (const state of ["created", "stopped", "suspended", "failed", "destroyed"] as const) {
      expect([...reachable(state)]).toEqual([state]);
    }
  });
});

describe("isSettledFor()", () => {
  test("is true in the wanted state and where it cannot come any more", () => {
    expect(isSettledFor("started", new Set<MachineState>(["started"]))).toBe(true);
    expect(isSettledFor("failed", new Set<MachineState>(["started"]))).toBe(true);
    expect(isSettledFor("created", new Set<MachineState>(["started"]))).toBe(true);
  });

  test("is false while the machine is on its way", () => {
    expect(isSettledFor("starting", new Set<MachineState>(["started"]))).toBe(false);
    expect(isSettledFor("started", new Set<MachineState>(["stopped"]))).toBe(false);
    expect(isSettledFor("destroying", new Set<MachineState>(["destroyed", "started"]))).toBe(false);
  });
});
