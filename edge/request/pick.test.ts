import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { RegionDistances } from "../balance/region-distance.ts";
import { type Steering, steering } from "../balance/steering.ts";
import { type RegionPool, ServiceRoute } from "../routes/app-route.ts";
import { Backend } from "../routes/backend.ts";
import { pick, pickWished } from "./pick.ts";
import { Wish } from "./wish.ts";

interface Given {
  inFlight?: number;
  soft?: number;
  hard?: number;
  ejectedUntilMs?: number;
  warmUntilMs?: number;
  region?: string;
}
const NOW_MS = 1_000;
const LATER_MS = NOW_MS + 1;

function backend(id: string, given: Given = {}): Backend {
  const made = new Backend(id, given.region ?? "ams", "127.0.0.1", 80);
  made.inFlight = given.inFlight ?? 0;
  made.softLimit = given.soft ?? 20;
  made.hardLimit = given.hard ?? Infinity;
  made.ejectedUntilMs = given.ejectedUntilMs ?? 0;
  made.warmUntilMs = given.warmUntilMs ?? 0;
  return made;
}
const pool = (region: string, ...ids: string[]): RegionPool => ({
  region,
  backends: ids.map((id) => backend(id, { region })),
});
function service(near: Backend[], far: RegionPool[] = [], rest: Partial<ServiceRoute> = {}): ServiceRoute {
  return Object.assign(new ServiceRoute(80), { near, far, ...rest });
}
function picked(
  route: ServiceRoute,
  random: () => number = () => 0,
  distances = new RegionDistances(),
): string {
  const result = pick(route, distances, NOW_MS, random);
  return typeof result === "string" ? result : result.machineId;
}
function wished(route: ServiceRoute, wanted: Partial<Steering>, ...tried: Backend[]): string {
  const wish = new Wish(steering(wanted));
  for (const each of tried) wish.avoid(each);
  const result = pickWished(route, wish, new RegionDistances(), NOW_MS);
  return typeof result === "string" ? result : result.machineId;
}

describe("pick()", () => {
  test("takes the less loaded of two draws", () => {
    const draws = [0, 0.9];
    const route = service([backend("a", { inFlight: 5 }), backend("b", { inFlight: 4 })]);
    expect(picked(route, () => draws.shift()!)).toBe("b");
  });
  test("measures load by the soft limit", () => {
    const draws = [0, 0.9];
    const route = service([
      backend("small", { inFlight: 3, soft: 5 }),
      backend("large", { inFlight: 10, soft: 50 }),
    ]);
    expect(picked(route, () => draws.shift()!)).toBe("large");
  });
  test("prefers a machine below its soft limit to one above it", () => {
    expect(picked(service([backend("a", { inFlight: 2, soft: 2 }), backend("b", { inFlight: 3, soft: 4 })])))
      .toBe("b");
    const crowd = Array.from({ length: 100 }, (_, i) => backend(`m${i}`, { inFlight: 2, soft: 2 }));
    crowd[77]!.inFlight = 1;
    expect(picked(service(crowd))).toBe("m77");
  });
  test("stays in its region up to the hard limit, and goes elsewhere then", () => {
    const far = [pool("fra", "far")];
    expect(picked(service([backend("near", { inFlight: 30 })], far))).toBe("near");
    expect(picked(service([backend("near", { inFlight: 30, hard: 30 })], far))).toBe("far");
    expect(picked(service([backend("near", { ejectedUntilMs: LATER_MS })], far))).toBe("far");
  });
  test("goes to the nearest of the other regions, and sorts them again when distances change", () => {
    const distances = new RegionDistances();
    const route = service([], [pool("fra", "f"), pool("lhr", "l"), pool("syd", "s")]);
    const first = () => picked(route, () => 0, distances);
    expect(first()).toBe("f");
    distances.observe("syd", 250, 0);
    expect(first()).toBe("s");
    distances.observe("lhr", 9, 0);
    expect(first()).toBe("l");
  });
  test("says full where all are at their hard limit", () => {
    expect(picked(service([backend("a", { inFlight: 1, soft: 1, hard: 1 })]))).toBe("full");
  });
  test("passes over a machine that cannot be reached, unless there is no other", () => {
    const ejected = () => backend("ejected", { ejectedUntilMs: LATER_MS });
    expect(picked(service([ejected(), backend("b", { inFlight: 19 })]))).toBe("b");
    expect(picked(service([ejected()]))).toBe("ejected");
    expect(picked(service([ejected(), backend("b", { inFlight: 1, hard: 1 })]))).toBe("full");
  });
  test("passes over a machine whose host is dead for any that is not, and starts one before it tries it", () => {
    const dead = (given: Given = {}) => {
      const made = backend("dead", given);
      made.hostDied();
      return made;
    };
    expect(picked(service([dead(), backend("b", { inFlight: 19 })]))).toBe("b");
    expect(picked(service([dead()], [pool("lhr", "far")]))).toBe("far");
    expect(picked(service([dead(), backend("ejected", { ejectedUntilMs: LATER_MS })]))).toBe("ejected");
    expect(picked(service([dead()], [], { startable: 1 }))).toBe("stopped");
    // No wait for an app that will not listen; what is left is to try.
    expect(picked(service([dead({ warmUntilMs: LATER_MS })]))).toBe("dead");
  });
  test("waits for a machine that is starting or not listening yet", () => {
    expect(picked(service([], [], { starting: 1 }))).toBe("starting");
    const warming = backend("a", { ejectedUntilMs: Infinity, warmUntilMs: LATER_MS });
    expect(picked(service([warming]))).toBe("starting");
  });
  test("says what there is where nothing runs", () => {
    expect(picked(service([]))).toBe("none");
    expect(picked(service([], [], { unhealthy: 2 }))).toBe("unhealthy");
    expect(picked(service([], [], { startable: 1, unhealthy: 2 }))).toBe("stopped");
  });
  test("never picks a machine at its hard limit, nor leaves a region with room", () => {
    const machine = fc.record({
      inFlight: fc.nat(10),
      soft: fc.integer({ min: 1, max: 10 }),
      hard: fc.integer({ min: 1, max: 10 }),
      ejectedUntilMs: fc.constantFrom(0, LATER_MS),
    });
    fc.assert(
      fc.property(
        fc.array(machine),
        fc.array(machine),
        fc.infiniteStream(fc.noShrink(fc.double({ min: 0, max: 0.999, noNaN: true }))),
        (near, far, draws) => {
          const make = (region: string) => (given: Given, i: number) =>
            backend(`${region}${i}`, { ...given, region });
          const route = service(near.map(make("ams")), [{ region: "fra", backends: far.map(make("fra")) }]);
          const random = () => draws.next().value as number;
          const result = pick(route, new RegionDistances(), NOW_MS, random);
          const room = (each: Backend) => each.inFlight < each.hardLimit && each.ejectedUntilMs <= NOW_MS;
          const nearRoom = route.near.some(room), anyRoom = [...route.backends()].some(room);
          if (typeof result === "string") expect(anyRoom).toBe(false);
          else {
            expect(result.inFlight).toBeLessThan(result.hardLimit);
            if (nearRoom) expect(result.region).toBe("ams");
            const below = route.near.some((each) => room(each) && each.inFlight < each.softLimit);
            if (below) expect(result.inFlight).toBeLessThan(result.softLimit);
          }
        },
      ),
    );
  });
});

describe("pickWished()", () => {
  const route = () =>
    service([backend("near"), backend("full", { inFlight: 1, hard: 1 })], [
      pool("fra", "f"),
      pool("syd", "s"),
      pool("iad", "i"),
    ]);
  test("a forced machine is the only one", () => {
    expect(wished(route(), { forceInstance: "s" })).toBe("s");
    expect(wished(route(), { forceInstance: "full" })).toBe("full");
    expect(wished(route(), { forceInstance: "gone" })).toBe("none");
  });
  test("a preferred machine is taken where it has room", () => {
    expect(wished(route(), { preferInstance: "s" })).toBe("s");
    expect(wished(route(), { preferInstance: "full" })).toBe("near");
    expect(wished(route(), { preferInstance: "gone" })).toBe("near");
  });
  test("forced regions are the only ones, in their order", () => {
    expect(wished(route(), { forceRegions: ["qqq", "syd", "fra"] })).toBe("s");
    expect(wished(route(), { forceRegions: ["eu"] })).toBe("near");
    expect(wished(route(), { forceRegions: ["qqq"] })).toBe("none");
  });
  test("preferred regions come first, the others after them", () => {
    expect(wished(route(), { preferRegions: ["us", "syd"] })).toBe("i");
    expect(wished(route(), { preferRegions: ["qqq"] })).toBe("near");
  });
  test("a machine to avoid is never taken, one that failed only where there is no other", () => {
    const two = service([backend("a"), backend("b", { inFlight: 5 })]);
    const [a, b] = two.near;
    expect(wished(two, { avoidInstance: "a" })).toBe("b");
    expect(wished(two, {}, a!)).toBe("b");
    expect(wished(two, { avoidInstance: "a" }, b!)).toBe("b");
    expect(wished(service([backend("a")]), { avoidInstance: "a" })).toBe("none");
  });
});
