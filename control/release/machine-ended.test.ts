import { describe, expect, test } from "bun:test";
import type { MachineExit } from "../contract/machine.ts";
import { describeEnd, LAST_LINES_MAX } from "./machine-ended.ts";

const guest = { cpu_kind: "shared", cpus: 1, memory_mb: 512 } as const;
const view = { id: "0123456789abcd", state: "stopped", guest, reason: null } as const;
const exit: MachineExit = {
  exit_code: 0,
  signal: null,
  oom_killed: false,
  requested: false,
  reason: null,
  at_ms: 0,
};

describe("describeEnd()", () => {
  test("says the exit code, and quotes the last lines within bounds", () => {
    const lines = Array.from({ length: 50 }, (_, i) => ({ line: `line ${i} ${"x".repeat(1_000)}` }));
    const error = describeEnd({ ...view, last_exit: { ...exit, exit_code: 3 } }, lines);
    expect(error.code).toBe("release.machine_exited");
    expect(error.message).toStartWith(
      "Machine 0123456789abcd exited with code 3 while it was being deployed",
    );
    expect(error.message.match(/line \d+/g)).toHaveLength(LAST_LINES_MAX);
    expect(error.message).toContain("line 49");
    expect(error.message.length).toBeLessThan(4_096);
  });

  test("tells a signal, a kill for memory and a failed boot apart", () => {
    const killed = describeEnd({ ...view, last_exit: { ...exit, exit_code: 143, signal: "SIGTERM" } }, []);
    expect([killed.code, killed.message]).toEqual([
      "release.machine_exited",
      "Machine 0123456789abcd was ended by SIGTERM while it was being deployed",
    ]);
    const memory = describeEnd({ ...view, last_exit: { ...exit, exit_code: 137, oom_killed: true } }, []);
    expect([memory.code, memory.fault]).toEqual(["release.machine_out_of_memory", "app"]);
    expect(memory.message).toContain("512 MB");
    const boot = describeEnd(
      { ...view, last_exit: { ...exit, exit_code: null, reason: "step mounts: no" } },
      [],
    );
    expect([boot.code, boot.fault]).toEqual(["release.machine_failed", "us"]);
    expect(boot.message).toContain("step mounts: no");
  });

  test("blames the app for a command that cannot be run", () => {
    const reason = 'its boot failed: step spawn: Cannot run "serve": executable not found in PATH';
    const error = describeEnd(
      { ...view, state: "failed", last_exit: { ...exit, exit_code: null, reason } },
      [],
    );
    expect([error.code, error.fault]).toEqual(["release.machine_failed", "app"]);
  });

  test("has words for a machine that ended without any", () => {
    expect(describeEnd({ ...view, state: "destroyed", last_exit: null }, []).message).toContain(
      "its state is destroyed",
    );
  });
});
