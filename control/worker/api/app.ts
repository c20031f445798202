/** The worker API (control/contract/worker-api.ts) as a Hono app: parse, ask `Requests`, answer. */
import { type Context, Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import { z } from "zod";
import { GodwitError } from "../../contract/errors.ts";
import { MachineSpec, MachineState } from "../../contract/machine.ts";
import { RowId } from "../../contract/names.ts";
import {
  ImageRequest,
  OfferRequest,
  ShutdownRequest,
  StopBody,
  WAIT_TIMEOUT_S_MAX,
  WORKER_BODY_BYTES_MAX,
} from "../../contract/worker-api.ts";
import type { Host } from "../host.ts";
import { LOG_TAIL_LINES_MAX } from "../logs.ts";
import { hostViewOf, makeOffer } from "../offers.ts";
import type { Requests } from "../requests.ts";
import { listMachines } from "../store/machines.ts";
import { deleteOffer } from "../store/offers.ts";
import { outboxDepth } from "../store/outbox.ts";
import { statusOf, toGodwitError } from "./errors.ts";
import { addGuestCalls, addGuestStreams } from "./guest-routes.ts";
import { bodyOf, idOf, invalid, parse } from "./input.ts";

export function workerApp(host: Host, requests: Requests): Hono {
  const app = new Hono();
  // Before the bound of bodies, which reads a stream ahead.
  addGuestStreams(app, requests);
  app.use(bodyLimit({ maxSize: WORKER_BODY_BYTES_MAX, onError: tooLarge }));

  app.get("/v1/host", (c) => c.json(hostViewOf(host)));
  app.post("/v1/offers", async (c) => c.json(makeOffer(host, await bodyOf(c, OfferRequest))));
  app.delete("/v1/offers/:offer", (c) => {
    host.store.write(() => deleteOffer(host.store, c.req.param("offer")));
    return c.body(null, 204);
  });
  app.post("/v1/images", async (c) => c.json(await host.images.ensure((await bodyOf(c, ImageRequest)).ref)));
  app.get("/v1/images/progress", (c) => c.json({ message: host.images.progress(c.req.query("ref") ?? "") }));
  app.post("/v1/shutdown", async (c) => {
    const { timeout_s } = await bodyOf(c, ShutdownRequest);
    return c.json(await requests.shutdown(timeout_s * 1_000));
  });

  app.get("/v1/machines", (c) => {
    const appId = parse(RowId.optional(), c.req.query("app_id"), "app_id");
    return c.json({ machines: requests.list(appId ?? null) });
  });
  app.put("/v1/machines/:id", async (c) => {
    const spec = await bodyOf(c, MachineSpec);
    if (spec.id !== idOf(c)) throw invalid(`the body names machine ${spec.id}, the path ${idOf(c)}`);
    return c.json(await requests.create(spec));
  });
  app.get("/v1/machines/:id", (c) => c.json(requests.viewWithEvents(idOf(c))));
  app.delete("/v1/machines/:id", (c) => c.json(requests.destroy(idOf(c))));
  app.post("/v1/machines/:id/start", (c) => c.json(requests.start(idOf(c))));
  app.post("/v1/machines/:id/stop", async (c) => c.json(requests.stop(idOf(c), await bodyOf(c, StopBody))));
  app.post("/v1/machines/:id/suspend", (c) => c.json(requests.suspend(idOf(c))));
  app.post("/v1/machines/:id/cordon", (c) => c.json(requests.cordon(idOf(c), true)));
  app.post("/v1/machines/:id/uncordon", (c) => c.json(requests.cordon(idOf(c), false)));
  app.get("/v1/machines/:id/wait", async (c) => {
    const wanted = parse(MachineState.array().min(1), c.req.queries("state") ?? [], "state");
    const bound = z.coerce.number().min(0).max(WAIT_TIMEOUT_S_MAX).default(WAIT_TIMEOUT_S_MAX);
    const timeoutS = parse(bound, c.req.query("timeout_s"), "timeout_s");
    return c.json(await requests.wait(idOf(c), new Set(wanted), timeoutS * 1_000, c.req.raw.signal));
  });
  addGuestCalls(app, requests);
  app.get("/v1/machines/:id/listeners", async (c) => c.json(await requests.listeners(idOf(c))));
  app.get("/v1/machines/:id/logs", (c) => {
    const bound = z.coerce.number().int().min(0).max(LOG_TAIL_LINES_MAX).default(LOG_TAIL_LINES_MAX);
    return c.json({ lines: requests.logs(idOf(c), parse(bound, c.req.query("tail"), "tail")) });
  });

  app.get("/metrics", async (c) => {
    host.metrics.outboxEntries.set(outboxDepth(host.store));
    host.metrics.machines.reset();
    for (const { state } of listMachines(host.store)) host.metrics.machines.inc({ state });
    return c.text(await host.metrics.registry.metrics());
  });

  app.notFound((c) => {
    const error = new GodwitError("worker.no_such_path", `There is no ${c.req.method} ${c.req.path}`, {
      fault: "client",
      hint: "see control/contract/worker-api.ts",
    });
    return c.json({ error: error.toWire() }, 404);
  });
  app.onError((thrown, c) => {
    const error = toGodwitError(thrown);
    if (error !== thrown) host.log.error({ err: thrown, path: c.req.path }, "request failed");
    return c.json({ error: error.toWire() }, statusOf(error));
  });
  return app;
}

function tooLarge(c: Context) {
  const error = new GodwitError(
    "request.too_large",
    `Cannot read the request: its body is larger than ${WORKER_BODY_BYTES_MAX} bytes`,
    { fault: "client", hint: "send less env" },
  );
  return c.json({ error: error.toWire() }, 413);
}
