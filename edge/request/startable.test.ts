import { expect, test } from "bun:test";
import { idOf } from "../edge.fixture.ts";
import { RouteTable } from "../routes/route-table.ts";
import { startable } from "./start-machine.ts";

test("startable() puts machines of dead hosts last, however near", () => {
  const routes = new RouteTable({ region: "ams", nowMs: () => 0, wallMs: () => 0 });
  const app_id = idOf("app");
  const machine = (host_id: string, region: string) => ({
    table: "machines" as const,
    key: `${host_id}/${idOf(host_id, 14)}`,
    row: {
      id: idOf(host_id, 14),
      app_id,
      host_id,
      region,
      release_id: app_id,
      state: "stopped" as const,
      cordoned: false,
      address4: null,
      address6: null,
      services: [{
        protocol: "tcp" as const,
        internal_port: 80,
        ports: [{ port: 80, handlers: ["http" as const], force_https: false }],
        concurrency: { type: "requests" as const, soft_limit: 20, hard_limit: null },
      }],
      started_at_ms: null,
    },
  });
  routes.apply([
    { table: "hostnames", key: "a.test", row: { hostname: "a.test", app_id } },
    machine("near", "ams"),
    machine("far", "lhr"),
  ]);
  const app = routes.find("a.test")!;
  const order = () =>
    startable({ routes, region: "ams" }, { app, service: app.services.get(80)!, wish: null })
      .map(({ hostId }) => hostId);
  expect(order()).toEqual(["near", "far"]);
  routes.setDeadHosts(new Set(["near"]));
  expect(order()).toEqual(["far", "near"]);
});
