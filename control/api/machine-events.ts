/** `GET /v1/apps/NAME/machines/ID/events`: what happened to a machine, newest first, with the reference's names (section 2.4). */
import { constants } from "node:os";
import type { Hono } from "hono";
import { requireScope } from "../access/permission.ts";
import type { LifeEvent, MachineExit } from "../contract/machine.ts";
import { authenticate } from "./authenticate.ts";
import type { ApiParts } from "./context.ts";
import { findOwnMachine, notFound } from "./not-found.ts";

/** What stands for no signal, and for a code that nobody knows. */
const NONE = -1;

export function addMachineEvents(app: Hono, parts: ApiParts): void {
  app.get("/v1/apps/:name/machines/:id/events", async (c) => {
    const principal = await authenticate(parts, c.req.raw);
    requireScope(principal, "read");
    const id = c.req.param("id");
    const { host, app: owner } = await parts.store.read((sql) => findOwnMachine(sql, principal, id));
    if (owner.name !== c.req.param("name")) throw notFound("machine", id);
    const { events } = await parts.clientOf(host).machine(id, { signal: c.req.raw.signal });
    return c.json((events ?? []).map(plainEvent));
  });
}

export function plainEvent({ id, at_ms, type, status, source, exit }: LifeEvent) {
  return {
    id: String(id),
    type,
    status,
    source: source === "api" ? "user" : "flyd",
    timestamp: at_ms,
    ...(exit === null ? {} : { request: { exit_event: exitEventOf(exit) } }),
  };
}

function exitEventOf(exit: MachineExit) {
  const signals: Readonly<Record<string, number>> = constants.signals;
  const signal = exit.signal === null ? NONE : signals[exit.signal] ?? NONE;
  return {
    exit_code: exit.exit_code ?? NONE,
    guest_exit_code: exit.exit_code ?? NONE,
    signal,
    guest_signal: signal,
    oom_killed: exit.oom_killed,
    requested_stop: exit.requested,
    restarting: exit.restarting === true,
    exited_at: new Date(exit.at_ms).toISOString(),
    ...(exit.reason === null ? {} : { error: exit.reason }),
  };
}
