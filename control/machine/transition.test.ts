import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { MachineState } from "../contract/machine.ts";
import { refusal } from "./refusal.ts";
import { holdsMemory, type MachineEvent, transition } from "./transition.ts";

const ASKED = ["start", "stop", "suspend", "destroy"] as const;
const TOLD = [
  "booted",
  "boot_failed",
  "exited",
  "stopped",
  "stop_failed",
  "suspended",
  "suspend_failed",
  "destroyed",
] as const;
const anyEvent = fc.constantFrom<MachineEvent[]>(...ASKED, ...TOLD);
const anyState = fc.constantFrom<MachineState[]>(...MachineState.options);

function run(from: MachineState, events: readonly MachineEvent[]): MachineState[] {
  const path = [from];
  for (const event of events) {
    const next = transition(path.at(-1)!, event);
    if (next.kind === "move") path.push(next.to);
  }
  return path;
}

describe("transition()", () => {
  test("leads a machine through its ordinary life", () => {
    expect(run("created", ["start", "booted", "stop", "stopped", "start", "booted", "exited", "stopped"]))
      .toEqual([
        "created",
        "starting",
        "started",
        "stopping",
        "stopped",
        "starting",
        "started",
        "stopping",
        "stopped",
      ]);
  });

  test("takes start of a started machine as done", () => {
    expect(transition("started", "start")).toEqual({ kind: "stay" });
    expect(transition("starting", "start")).toEqual({ kind: "stay" });
  });

  test("refuses start while stopping, and says that a retry is safe", () => {
    expect(transition("stopping", "start")).toEqual({
      kind: "refuse",
      code: "machine.busy",
      retryable: true,
    });
  });

  test("a stop during a start overtakes it", () => {
    expect(transition("starting", "stop")).toEqual({ kind: "move", to: "stopping" });
    expect(transition("stopping", "booted")).toEqual({ kind: "stay" });
  });

  test("takes destroy in every state", () => {
    for (const state of MachineState.options) {
      const next = transition(state, "destroy");
      if (state === "destroyed" || state === "destroying") expect(next).toEqual({ kind: "stay" });
      else expect(next).toEqual({ kind: "move", to: "destroying" });
    }
  });

  test("never refuses what has happened already", () => {
    for (const state of MachineState.options) {
      for (const event of TOLD) expect(transition(state, event).kind).not.toBe("refuse");
    }
  });

  test("lets no sequence of events leave destroyed, and none leave destroying but for destroyed", () => {
    fc.assert(fc.property(anyState, fc.array(anyEvent, { maxLength: 40 }), (from, events) => {
      const path = run(from, events);
      for (const [at, state] of path.entries()) {
        const next = path[at + 1];
        if (next === undefined) continue;
        expect(state).not.toBe("destroyed");
        if (state === "destroying") expect(next).toBe("destroyed");
      }
    }));
  });

  test("puts a machine to sleep and wakes it, also while it falls asleep", () => {
    expect(run("started", ["suspend", "suspended", "start", "booted"])).toEqual([
      "started",
      "suspending",
      "suspended",
      "starting",
      "started",
    ]);
    expect(run("started", ["suspend", "start", "booted"]).at(-1)).toBe("started");
    expect(transition("starting", "suspended")).toEqual({ kind: "stay" });
    expect(run("started", ["suspend", "suspend_failed"]).at(-1)).toBe("started");
    expect(run("started", ["suspend", "suspended", "stop", "stopped"]).at(-1)).toBe("stopped");
  });

  test("reaches started through starting alone, or where it could not fall asleep", () => {
    fc.assert(fc.property(anyState, fc.array(anyEvent, { maxLength: 40 }), (from, events) => {
      const path = run(from, events);
      for (let at = 1; at < path.length; at++) {
        if (path[at] === "started") expect(["starting", "suspending"]).toContain(path[at - 1]!);
      }
    }));
  });

  test("can always be brought to destroyed by destroy and its completion", () => {
    fc.assert(fc.property(anyState, fc.array(anyEvent, { maxLength: 20 }), (from, events) => {
      expect(run(run(from, events).at(-1)!, ["destroy", "destroyed"]).at(-1)).toBe("destroyed");
    }));
  });
});

describe("refusal()", () => {
  test("names the machine, its state and what to do", () => {
    const error = refusal("0123456789abcd", "stopping", "start", { code: "machine.busy", retryable: true });
    expect(error.message).toBe("Cannot start machine 0123456789abcd: it is stopping");
    expect(error.retryable).toBe(true);
    expect(error.hint).toContain("ask again");
  });
});

test("holdsMemory() counts a machine from its start until its VM is gone", () => {
  expect(MachineState.options.filter(holdsMemory)).toEqual(["starting", "started", "stopping", "suspending"]);
});
