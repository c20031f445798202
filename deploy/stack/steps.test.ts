import { describe, expect, test } from "bun:test";
import { GodwitError } from "../../control/contract/errors.ts";
import { formatDuration, renderFailure, Steps } from "./steps.ts";

function recorded(isTTY: boolean) {
  let text = "";
  let now = 0;
  const steps = new Steps({ isTTY, write: (more) => text += more }, () => now);
  return { steps, text: () => text, pass: (ms: number) => now += ms };
}

describe("Steps", () => {
  test("writes one line a step with its duration and what it found", async () => {
    const { steps, text, pass } = recorded(false);
    expect(await steps.run("postgres", async () => (pass(1_234), "pid 7"))).toBe("pid 7");
    expect(text()).toMatch(/^✓ postgres +1\.2 s {2}pid 7\n$/);
    expect(steps.timings).toEqual([{ step: "postgres", ms: 1_234 }]);
  });

  test("marks the step that failed and passes its error on", async () => {
    const { steps, text } = recorded(true);
    await expect(steps.run("edge", () => Promise.reject(new Error("no")))).rejects.toThrow("no");
    expect(text()).toContain("✗ edge");
    expect(steps.current).toBe("edge");
  });
});

test("renderFailure() says what, what to do, and the code", () => {
  const error = new GodwitError("stack.port_taken", "Port 8080 is taken", {
    fault: "client",
    hint: "choose others",
  });
  expect(renderFailure(error)).toBe("  Port 8080 is taken\n  → choose others\n  (stack.port_taken)");
});

test("formatDuration() reads as milliseconds below a second", () => {
  expect([formatDuration(12.4), formatDuration(999), formatDuration(61_000)]).toEqual([
    "12 ms",
    "999 ms",
    "61.0 s",
  ]);
});
