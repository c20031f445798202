/** Who is woken when, on the table's own objects; what a user sees of it is in serve.test.ts. */
import { describe, expect, test } from "bun:test";
import { BalanceCounts } from "../balance/balance-counts.ts";
import type { Edge } from "../edge.ts";
import { Deadlines } from "../relay/deadlines.ts";
import { AppRoute } from "../routes/app-route.ts";
import { Backend } from "../routes/backend.ts";
import { Waiter, type Waiters } from "../routes/waiters.ts";
import type { Exchange } from "./exchange.ts";
import { hold } from "./hold.ts";
import { afterFailure, release } from "./send.ts";

/** An app with one machine behind ports 80 and 443, as the route table makes it: one backend for both. */
function machineBehindTwoPorts() {
  const app = new AppRoute("a".repeat(20));
  const backend = new Backend("m1", "ams", "127.0.0.1", 8080);
  for (const port of [80, 443]) app.service(port).near.push(backend);
  const at = (port: number) => app.service(port).waiters;
  const exchange = (port: number) => {
    backend.inFlight++;
    return { app, service: app.service(port), backend, attempts: 0, wish: null } as unknown as Exchange;
  };
  return { backend, at, exchange };
}
const woken: string[] = [];
function wait(waiters: Waiters, sinceMs: number, name: string): Promise<void> {
  return new Promise((resolve) => {
    const wake = () => {
      woken.push(name);
      resolve();
    };
    waiters.add(new Waiter(waiters, sinceMs, 1_000, { wake, expired() {}, cancelled() {}, fault() {} }));
  });
}
const edge = { nowMs: () => 100, random: () => 0.5, balance: new BalanceCounts() } as unknown as Edge;
const refused = { kind: "refused", detail: "ECONNREFUSED", reused: false } as const;

describe("hold", () => {
  test("a place freed through one port goes to who has waited longest at any port of the machine", () => {
    woken.length = 0;
    const { at, exchange } = machineBehindTwoPorts();
    void wait(at(443), 2, "443");
    void wait(at(80), 1, "80");
    release(edge, exchange(443));
    expect(woken).toEqual(["80"]);
    release(edge, exchange(443));
    expect(woken).toEqual(["80", "443"]);
  });

  test("a place goes past who may not go there to who has waited longest of the others", () => {
    woken.length = 0;
    const { at, exchange } = machineBehindTwoPorts();
    const picky = { wake: () => woken.push("picky"), expired() {}, cancelled() {}, fault() {} };
    at(80).add(new Waiter(at(80), 1, 1_000, picky, ({ machineId }) => machineId === "m2"));
    void wait(at(80), 2, "any");
    release(edge, exchange(80));
    release(edge, exchange(80));
    expect(woken).toEqual(["any"]);
  });

  test("a machine that was ejected once still wakes who waits for its places", () => {
    woken.length = 0;
    const { backend, at, exchange } = machineBehindTwoPorts();
    backend.ejectedUntilMs = 50;
    void wait(at(80), 1, "first");
    release(edge, exchange(80));
    expect(woken).toEqual(["first"]);
  });

  test("refusals of a machine that has just started wake one request together, and that one later", async () => {
    woken.length = 0;
    const { backend, at, exchange } = machineBehindTwoPorts();
    backend.warmUntilMs = 1_000;
    const first = wait(at(443), 1, "first");
    void wait(at(80), 2, "second");
    for (const one of [exchange(80), exchange(80), exchange(443)]) {
      expect(afterFailure(edge, one, refused)).toBe(null);
    }
    expect(woken).toEqual([]);
    await first;
    // A second timer would have been set in the same millisecond; it fires before one that is set now.
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(woken).toEqual(["first"]);
    expect(backend.inFlight).toBe(0);
  });

  test("a request that fails when it is woken ends alone", async () => {
    woken.length = 0;
    const { at, exchange } = machineBehindTwoPorts();
    const faults: unknown[] = [];
    const client = { onFault: (error: unknown) => faults.push(error) };
    const limits = { holdWaitersMax: 9, holdWaitMsMax: 1_000, deadlines: new Deadlines() };
    const held = Object.assign(exchange(80), { client, heldMs: 0 }) as unknown as Exchange;
    const again = () => {
      throw new Error("ours");
    };
    expect(hold({ ...edge, ...limits } as Edge, held, "starting", { again, refuse() {} })).toBe(null);
    const other = wait(at(80), 1, "other");
    at(80).wakeAll();
    await other;
    expect(faults.map(String)).toEqual(["Error: ours"]);
    expect(limits.deadlines.size).toBe(0);
  });

  test("who waits for a machine that never listened is answered once its grace is over, one after the other", () => {
    woken.length = 0;
    const { backend, at, exchange } = machineBehindTwoPorts();
    backend.warmUntilMs = 50;
    void wait(at(80), 1, "next");
    expect(afterFailure(edge, exchange(80), refused)).toMatchObject({ code: "edge.machine_refused" });
    expect(woken).toEqual(["next"]);
  });
});
