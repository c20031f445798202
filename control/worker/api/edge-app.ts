/** The API for this host's edge (control/contract/worker-edge-api.ts). */
import { Hono } from "hono";
import { GodwitError } from "../../contract/errors.ts";
import type { MachineView, Service } from "../../contract/machine.ts";
import { MachineId } from "../../contract/names.ts";
import { type EdgeMachine, RECENTLY_STOPPED } from "../../contract/worker-edge-api.ts";
import { recentlyStopped } from "../../machine/recently-stopped.ts";
import type { Requests } from "../requests.ts";
import { statusOf, toGodwitError } from "./errors.ts";

/** @param nowMs wall clock */
export function edgeApp(requests: Requests, nowMs: () => number = Date.now): Hono {
  const app = new Hono();
  app.post("/v1/machines/:id/start", (c) => {
    const machine = allowed(
      requests.view(idOf(c.req.param("id"))),
      "start",
      (service) => service.auto_start_machines !== false,
    );
    if (c.req.query("spare") === "true" && recentlyStopped(machine, nowMs())) {
      throw justStopped(machine.id);
    }
    return c.json(answer(requests.start(machine.id, "edge")));
  });
  app.post("/v1/machines/:id/stop", (c) => {
    const machine = allowed(
      requests.view(idOf(c.req.param("id"))),
      "stop",
      (service) => (service.auto_stop_machines ?? "off") !== "off",
    );
    return c.json(answer(
      isToSleep(machine) && requests.canSuspend
        ? requests.suspend(machine.id, "edge")
        : requests.stop(machine.id, { signal: null, timeout_s: null }, "edge"),
    ));
  });
  app.notFound((c) => c.json({ error: notHere(c.req.path).toWire() }, 404));
  app.onError((thrown, c) => {
    const error = toGodwitError(thrown);
    return c.json({ error: error.toWire() }, statusOf(error));
  });
  return app;
}

function idOf(id: string): string {
  const parsed = MachineId.safeParse(id);
  if (parsed.success) return parsed.data;
  throw new GodwitError("request.invalid", "Cannot read the request: the path names no machine", {
    fault: "client",
  });
}

function allowed(
  machine: MachineView,
  what: "start" | "stop",
  by: (service: Service) => boolean,
): MachineView {
  if (machine.services.some(by)) return machine;
  throw new GodwitError(
    what === "start" ? "machine.autostart_off" : "machine.autostop_off",
    `Cannot ${what} machine ${machine.id} for an edge: none of its services allows it`,
    { fault: "app", hint: `set auto_${what}_machines for one of its services` },
  );
}

/** One service that wants a real stop gets it. */
function isToSleep({ services }: MachineView): boolean {
  const wishes = services.map((service) => service.auto_stop_machines ?? "off");
  return wishes.includes("suspend") && !wishes.includes("stop");
}

function justStopped(id: string): GodwitError {
  return new GodwitError(
    RECENTLY_STOPPED,
    `Cannot start machine ${id} to spare others: it was stopped a moment ago`,
    { fault: "client", retryable: true, hint: "ask without `spare` where no other machine can serve" },
  );
}

function answer({ id, state }: MachineView): EdgeMachine {
  return { id, state };
}

function notHere(path: string): GodwitError {
  return new GodwitError("worker.no_such_path", `There is no ${path} for an edge`, { fault: "client" });
}
