import { expect, test } from "bun:test";
import { machineChange } from "../../control/contract/machine-row.fixture.ts";
import { idOf } from "../edge.fixture.ts";
import { RouteTable } from "../routes/route-table.ts";
import { startable } from "./start-machine.ts";

test("startable() puts machines of dead hosts last, however near", () => {
  const routes = new RouteTable({ region: "ams", nowMs: () => 0, wallMs: () => 0 });
  const app_id = idOf("app");
  const machine = (host_id: string, region: string) =>
    machineChange(80, {
      ...{ id: idOf(host_id, 14), app_id, host_id, region },
      ...{ state: "stopped", address4: null, started_at_ms: null },
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
