/** The public HTTP surface of control: GraphQL, what is better plain HTTP beside it, and the nodes' own door. */
import { Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import { requireScope } from "../access/permission.ts";
import { GodwitError } from "../contract/errors.ts";
import { HostId } from "../contract/names.ts";
import { HostRegistration } from "../contract/worker-api.ts";
import { announcePublisher } from "../publish/announce.ts";
import { registerHost } from "../store/hosts.ts";
import { outboxDepth } from "../store/outbox.ts";
import { LogFollowers, readLogQuery } from "./app-logs.ts";
import { authenticate, bearerOf, isNodeToken, requireNodeToken } from "./authenticate.ts";
import type { ApiParts } from "./context.ts";
import { errorAnswer, graphqlErrorAnswer } from "./error-answer.ts";
import { makeGraphql } from "./graphql.ts";
import { health } from "./health.ts";
import { REQUEST_BYTES_MAX } from "./limits.ts";
import { MachineViews } from "./machine-views.ts";
import { addMachineEvents } from "./machine-events.ts";
import { addMachineCalls, addMachineStreams } from "./machine-guest.ts";
import { waitForMachine } from "./machine-wait.ts";
import { findOwnApp } from "./not-found.ts";
import { requestLog } from "./request-log.ts";
import { frontPage } from "./front-page.ts";
import { validate } from "./validate.ts";

export function makeApp(parts: ApiParts): Hono {
  const app = new Hono();
  const graphql = makeGraphql(parts.log, parts.metrics);
  const followers = new LogFollowers(parts);

  app.use(requestLog(parts.log, parts.metrics));
  addMachineStreams(app, parts);
  app.use(bodyLimit({
    maxSize: REQUEST_BYTES_MAX,
    onError: () => {
      parts.metrics.limitsMet.inc({ limit: "body" });
      throw new GodwitError(
        "api.body_too_large",
        `Cannot read a body of more than ${REQUEST_BYTES_MAX} bytes`,
        {
          fault: "client",
        },
      );
    },
  }));
  app.onError((error, c) =>
    c.req.path === "/graphql" ? graphqlErrorAnswer(error, parts.log) : errorAnswer(error, parts.log)
  );
  app.notFound((c) =>
    errorAnswer(
      new GodwitError("api.not_found", `There is nothing at ${c.req.method} ${c.req.path.slice(0, 200)}`, {
        fault: "client",
        hint: "The API is GraphQL at POST /graphql; control/api/README.md lists what is beside it.",
      }),
      parts.log,
    )
  );

  app.get("/", (c) => c.html(frontPage));
  app.get("/healthz", () => health(parts));

  app.all("/graphql", async (c) => {
    const principal = await authenticate(parts, c.req.raw);
    requireScope(principal, "read");
    const machineViews = new MachineViews(parts.store, parts.clientOf);
    return await graphql.fetch(c.req.raw, { parts, principal, machineViews });
  });

  app.get("/v1/apps/:name/logs", async (c) => {
    const principal = await authenticate(parts, c.req.raw);
    requireScope(principal, "read");
    const query = readLogQuery(new URL(c.req.url).searchParams);
    const { id } = await parts.store.read((sql) => findOwnApp(sql, principal, c.req.param("name")));
    // HEAD is answered by the GET handler, and nobody would read, or end, what follows.
    const follow = query.follow && c.req.method !== "HEAD";
    return await followers.answer(id, { ...query, follow }, c.req.raw.signal);
  });

  addMachineCalls(app, parts);
  addMachineEvents(app, parts);
  app.get("/v1/machines/:id/wait", async (c) => {
    const principal = await authenticate(parts, c.req.raw);
    requireScope(principal, "read");
    const parameters = new URL(c.req.url).searchParams;
    return c.json(await waitForMachine(parts, principal, c.req.param("id"), parameters, c.req.raw.signal));
  });

  app.get("/metrics", async (c) => {
    if (!isNodeToken(parts, bearerOf(c.req.raw))) {
      requireScope(await authenticate(parts, c.req.raw), "admin");
    }
    parts.metrics.outboxDepth.set(await parts.store.read(outboxDepth));
    return c.text(await parts.metrics.registry.metrics(), 200, {
      "content-type": parts.metrics.registry.contentType,
    });
  });

  app.put("/internal/v1/hosts/:id", async (c) => {
    requireNodeToken(parts, c.req.raw);
    const options = {
      code: "host.registration_invalid",
      what: "registration",
      hint: "See HostRegistration.",
    };
    const id = validate(HostId, c.req.param("id"), options);
    const registration = validate(HostRegistration, await c.req.json().catch(() => null), options);
    if (registration.host.id !== id) {
      throw new GodwitError(
        "host.registration_invalid",
        `Cannot register host ${id}: the body says ${registration.host.id}`,
        { fault: "client" },
      );
    }
    await parts.store.transaction(async (tx) => {
      if (await registerHost(tx, registration)) await announcePublisher(tx, id);
    });
    return c.body(null, 204);
  });

  return app;
}
