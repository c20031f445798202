import { describe, expect, test } from "bun:test";
import { machineChange } from "../../control/contract/machine-row.fixture.ts";
import type { MachineRow } from "../../control/contract/rows.ts";
import { Waiter } from "./waiters.ts";
import { RouteTable, type RowChange, START_GRACE_MS } from "./route-table.ts";

const APP = "a".repeat(20);
const WALL_MS = 1_000_000;
const table = () => new RouteTable({ region: "ams", nowMs: () => 5_000, wallMs: () => WALL_MS });

const machine = (id: string, fields: Partial<MachineRow> = {}) =>
  machineChange(8080, {
    ...{ id, app_id: APP, host_id: "h1", release_id: APP, address4: "10.0.0.1" },
    services: [{
      protocol: "tcp",
      internal_port: 8080,
      ports: [80, 443].map((port) => ({ port, handlers: ["http"], force_https: false })),
      concurrency: { type: "requests", soft_limit: 3, hard_limit: 7 },
    }],
    ...fields,
  });
const hostname = { table: "hostnames", key: "a.test", row: { hostname: "a.test", app_id: APP } } as const;

describe("route table", () => {
  test("routes whatever the order in which rows come", () => {
    const routes = table();
    routes.apply([machine("m1")]);
    expect(routes.find("a.test")).toBe(null);
    routes.apply([hostname]);
    const [backend] = routes.find("a.test")!.services.get(443)!.near;
    expect(backend).toMatchObject({
      machineId: "m1",
      address: "10.0.0.1",
      port: 8080,
      softLimit: 3,
      hardLimit: 7,
    });
  });
  test("finds the longest pattern, and the exact name before any", () => {
    const routes = table();
    const lead = (pattern: string, id: string): RowChange[] => [
      { table: "apps", key: id, row: { id, name: pattern, org_id: APP, org_slug: "o", services: [] } },
      { table: "hostnames", key: pattern, row: { hostname: pattern, app_id: id } },
    ];
    const found = (host: string) => routes.find(host)?.name ?? null;
    routes.apply([
      ...lead("*", "1"),
      ...lead("*.test", "2"),
      ...lead("*.b.test", "3"),
      ...lead("a.b.test", "4"),
    ]);
    expect(["a.b.test", "c.b.test", "d.c.b.test", "b.test", "test", "x.org"].map(found)).toEqual([
      "a.b.test",
      "*.b.test",
      "*.b.test",
      "*.test",
      "*",
      "*",
    ]);
    for (const key of ["*", "*.b.test"]) routes.apply([{ table: "hostnames", key, row: null }]);
    expect(["a.b.test", "c.b.test", "x.org"].map(found)).toEqual(["a.b.test", "*.test", null]);
  });
  test("keeps a backend that did not change, with its counts", () => {
    const routes = table();
    routes.apply([hostname, machine("m1")]);
    const service = routes.find("a.test")!.services.get(80)!;
    const before = service.near[0]!;
    before.inFlight = 2;
    routes.apply([machine("m1"), machine("m2", { region: "fra" })]);
    expect(service.near[0]).toBe(before);
    expect(service.far).toMatchObject([{ region: "fra", backends: [{ machineId: "m2" }] }]);
  });
  test("a new run or address is a new backend, and the old one is retired", () => {
    const routes = table();
    routes.apply([hostname, machine("m1")]);
    const service = routes.find("a.test")!.services.get(80)!;
    for (const change of [{ address4: "10.0.0.2" }, { started_at_ms: 2, address4: "10.0.0.2" }]) {
      const before = service.near[0]!;
      routes.apply([machine("m1", change)]);
      expect(before.retired).toBe(true);
      expect(service.near[0]).not.toBe(before);
    }
  });
  test("only started, uncordoned machines with an address take requests", () => {
    const routes = table();
    routes.apply([
      hostname,
      machine("m1", { state: "stopped" }),
      machine("m2", { cordoned: true }),
      machine("m3", { address4: null }),
      machine("m4", { state: "starting" }),
    ]);
    const service = routes.find("a.test")!.services.get(80)!;
    expect(service.near).toEqual([]);
    expect(service.starting).toBe(1);
  });
  test("a start before our eyes is warm from now, an old one is not", () => {
    const routes = table();
    routes.apply([hostname, machine("m1", { state: "starting" }), machine("m2")]);
    routes.apply([machine("m1", { started_at_ms: 1 })]);
    const warm = new Map(
      routes.find("a.test")!.services.get(80)!.near.map((b) => [b.machineId, b.warmUntilMs]),
    );
    expect(warm.get("m1")).toBe(5_000 + START_GRACE_MS);
    expect(warm.get("m2")).toBeLessThan(5_000);
  });
  test("a change wakes who waits for that app", () => {
    const routes = table();
    routes.apply([hostname, machine("m1", { state: "starting" })]);
    const { waiters } = routes.find("a.test")!.services.get(80)!;
    let woken = 0;
    waiters.add(
      new Waiter(waiters, 0, 1_000, {
        wake: () => woken++,
        expired: () => {},
        cancelled: () => {},
        fault: () => {},
      }),
    );
    routes.apply([machine("other", { app_id: "b".repeat(20) })]);
    expect(woken).toBe(0);
    routes.apply([machine("m1")]);
    expect(woken).toBe(1);
  });
  test("what is deleted is gone", () => {
    const routes = table();
    routes.apply([hostname, machine("m1")]);
    const service = routes.find("a.test")!.services.get(80)!;
    routes.apply([{ table: "machines", key: "h1/m1", row: null }]);
    expect(service.near).toEqual([]);
    routes.apply([{ table: "hostnames", key: "a.test", row: null }]);
    expect(routes.find("a.test")).toBe(null);
    expect(routes.sizes).toMatchObject({ hostnames: 0, machines: 0 });
  });
  test("an app is forgotten with the last row that names it, whichever that is", () => {
    const app: RowChange = {
      table: "apps",
      key: APP,
      row: { id: APP, name: "a", org_id: APP, org_slug: "o", services: [] },
    };
    const rows: RowChange[] = [app, hostname, machine("m1")];
    for (let first = 0; first < rows.length; first++) {
      const routes = table();
      routes.apply(rows);
      const order = [...rows.slice(first), ...rows.slice(0, first)];
      for (const [i, row] of order.entries()) {
        expect(routes.sizes.apps).toBe(1);
        routes.apply([{ ...row, row: null } as RowChange]);
        expect(routes.sizes.apps).toBe(i === 2 ? 0 : 1);
      }
      routes.apply(rows);
      expect(routes.find("a.test")!.services.get(80)!.near.length).toBe(1);
    }
  });
  test("a host name that moves leads to its new app alone", () => {
    const routes = table();
    const other = "b".repeat(20);
    routes.apply([hostname, machine("m1"), { ...hostname, row: { hostname: "a.test", app_id: other } }]);
    expect(routes.find("a.test")!.id).toBe(other);
    routes.apply([{ ...hostname, row: null }]);
    expect(routes.sizes).toEqual({ hostnames: 0, apps: 1, machines: 1 });
  });
  test("passes over the machines of dead hosts, those that come later too, and no others", () => {
    const routes = table();
    const on = (host: string, id: string) => machine(id, { host_id: host });
    routes.apply([hostname, on("h1", "m1"), on("h2", "m2")]);
    const dead = () =>
      routes.find("a.test")!.services.get(80)!.near.filter(({ hostDead }) => hostDead)
        .map(({ machineId }) => machineId).sort();
    routes.setDeadHosts(new Set(["h2", "h3"]));
    routes.apply([on("h3", "m3"), on("h2", "m4")]);
    expect(dead()).toEqual(["m2", "m3", "m4"]);
    routes.setDeadHosts(new Set(["h1"]));
    expect(dead()).toEqual(["m1"]);
    routes.apply([{ table: "machines", key: "h1/m1", row: null }]);
    routes.setDeadHosts(new Set());
    expect(dead()).toEqual([]);
  });
});
