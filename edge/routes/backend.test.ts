import { describe, expect, test } from "bun:test";
import { Backend } from "./backend.ts";

describe("Backend of a dead host", () => {
  test("stays passed over, whatever is seen of it, until its host is back", () => {
    const backend = new Backend("m", "ams", "127.0.0.1", 80);
    backend.hostDied();
    for (const untilMs of [0, 500, Infinity]) {
      backend.eject(untilMs);
      expect(backend.hostDead).toBe(true);
    }
    backend.hostCameBack();
    expect([backend.hostDead, backend.ejectedUntilMs]).toEqual([false, 0]);
  });
  test("one whose host did not die keeps what its breaker says", () => {
    const backend = new Backend("m", "ams", "127.0.0.1", 80);
    backend.eject(500);
    backend.hostCameBack();
    expect([backend.hostDead, backend.ejectedUntilMs]).toEqual([false, 500]);
  });
});
