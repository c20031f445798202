import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { ServiceRoute } from "../routes/app-route.ts";
import { Backend } from "../routes/backend.ts";
import { pick } from "./pick.ts";

interface Given {
  inFlight?: number;
  soft?: number;
  hard?: number;
  ejectedUntilMs?: number;
  warmUntilMs?: number;
}
const NOW_MS = 1_000;

function backend(id: string, given: Given = {}): Backend {
  const made = new Backend(id, "ams", "127.0.0.1", 80);
  made.inFlight = given.inFlight ?? 0;
  made.softLimit = given.soft ?? 20;
  made.hardLimit = given.hard ?? Infinity;
  made.ejectedUntilMs = given.ejectedUntilMs ?? 0;
  made.warmUntilMs = given.warmUntilMs ?? 0;
  return made;
}
function service(near: Backend[], far: Backend[] = [], starting = 0): ServiceRoute {
  return Object.assign(new ServiceRoute(80), { near, far, starting });
}
function picked(route: ServiceRoute, random: () => number = () => 0): string {
  const result = pick(route, NOW_MS, random);
  return typeof result === "string" ? result : result.machineId;
}

describe("pick()", () => {
  test("takes the less loaded of two draws", () => {
    const draws = [0, 0.9];
    expect(
      picked(service([backend("a", { inFlight: 5 }), backend("b", { inFlight: 4 })]), () => draws.shift()!),
    )
      .toBe("b");
  });
  test("prefers a machine below its soft limit to one above it", () => {
    expect(picked(service([backend("a", { inFlight: 2, soft: 2 }), backend("b", { inFlight: 3, soft: 4 })])))
      .toBe("b");
  });
  test("stays in its region up to the hard limit, and goes elsewhere then", () => {
    const far = [backend("far")];
    expect(picked(service([backend("near", { inFlight: 30 })], far))).toBe("near");
    expect(picked(service([backend("near", { inFlight: 30, hard: 30 })], far))).toBe("far");
  });
  test("says full where all are at their hard limit", () => {
    expect(picked(service([backend("a", { inFlight: 1, soft: 1, hard: 1 })]))).toBe("full");
  });
  test("passes over a machine that has just refused, unless it is the last", () => {
    const ejected = () => backend("ejected", { ejectedUntilMs: NOW_MS + 1 });
    expect(picked(service([ejected(), backend("b", { inFlight: 19 })]))).toBe("b");
    expect(picked(service([ejected()]))).toBe("ejected");
  });
  test("waits for a machine that is starting or not listening yet", () => {
    expect(picked(service([], [], 1))).toBe("starting");
    const warming = backend("a", { ejectedUntilMs: Infinity, warmUntilMs: NOW_MS + 1 });
    expect(picked(service([warming]))).toBe("starting");
    expect(picked(service([]))).toBe("none");
  });
  test("never picks a machine at its hard limit", () => {
    const machine = fc.record({
      inFlight: fc.nat(10),
      soft: fc.integer({ min: 1, max: 10 }),
      hard: fc.integer({ min: 1, max: 10 }),
      ejectedUntilMs: fc.constantFrom(0, NOW_MS + 1),
    });
    fc.assert(
      fc.property(
        fc.array(machine),
        fc.array(machine),
        fc.infiniteStream(fc.noShrink(fc.double({ min: 0, max: 0.999, noNaN: true }))),
        (near, far, draws) => {
          const make = (given: Given, i: number) => backend(String(i), given);
          const result = pick(
            service(near.map(make), far.map(make)),
            NOW_MS,
            () => draws.next().value as number,
          );
          if (typeof result !== "string") expect(result.inFlight).toBeLessThan(result.hardLimit);
        },
      ),
    );
  });
});
