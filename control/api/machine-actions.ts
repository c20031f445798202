/** What people ask of one machine. Its worker decides and does; the API checks whose it is, and passes on. */
import { z } from "zod";
import { requireScope } from "../access/permission.ts";
import { GodwitError } from "../contract/errors.ts";
import { type MachineView, STOP_TIMEOUT_S_MAX } from "../contract/machine.ts";
import { wantDestroyed } from "../store/machines.ts";
import type { RequestContext } from "./context.ts";
import { onceOutside } from "./idempotent.ts";
import type { SeenMachine } from "./machine-views.ts";
import { findOwnMachine, notFound } from "./not-found.ts";
import { validate } from "./validate.ts";

const StopWish = z.object({
  signal: z.string().regex(/^SIG[A-Z0-9+]{2,12}$/, "a signal is named like SIGTERM").nullable(),
  timeout_s: z.number().int().min(0).max(STOP_TIMEOUT_S_MAX).nullable(),
});

export type MachineAction =
  | { readonly kind: "start" | "suspend" }
  | { readonly kind: "stop"; readonly signal: string | null; readonly timeoutS: number | null }
  | { readonly kind: "destroy" };

export async function actOnMachine(
  context: RequestContext,
  machineId: string,
  action: MachineAction,
  key: string | null,
): Promise<SeenMachine> {
  const { principal, parts } = context;
  requireScope(principal, "write");
  const input = { machineId, action };
  const mutation = { principal, operation: `${action.kind}Machine`, key, input };
  let seen: SeenMachine | null = null;
  await onceOutside(parts.store, mutation, async () => {
    seen = await perform(context, machineId, action);
    return { machine_id: machineId };
  });
  return seen ?? await look(context, machineId);
}

async function perform(context: RequestContext, id: string, action: MachineAction): Promise<SeenMachine> {
  const { principal, parts } = context;
  const { line, host } = await parts.store.read((sql) => findOwnMachine(sql, principal, id));
  const client = parts.clientOf(host);
  const seen = (view: MachineView): SeenMachine => ({ line, view, hostStatus: "OK" });
  if (action.kind === "destroy") return await destroy(context, id);
  if (line.destroyedAt !== null) throw notFound("machine", id);
  if (action.kind !== "stop") return seen(await client.act(id, action.kind));
  const wish = validate(StopWish, { signal: action.signal, timeout_s: action.timeoutS }, {
    code: "machine.stop_invalid",
    what: "stop request",
    hint: `A signal such as SIGTERM, and 0 to ${STOP_TIMEOUT_S_MAX} seconds.`,
  });
  return seen(await client.stop(id, wish));
}

/** The wish is durable before the worker is asked; the release runner repeats it until the machine is gone. */
async function destroy(context: RequestContext, id: string): Promise<SeenMachine> {
  const { principal, parts } = context;
  const { line, host } = await parts.store.read((sql) => findOwnMachine(sql, principal, id));
  if (line.destroyedAt !== null) return { line, view: null, hostStatus: "OK" };
  await parts.store.read((sql) => wantDestroyed(sql, [id]));
  try {
    return { line, view: await parts.clientOf(host).destroy(id), hostStatus: "OK" };
  } catch (error) {
    if (!(error instanceof GodwitError)) throw error;
    return { line, view: null, hostStatus: error.code === "place.host_unreachable" ? "UNREACHABLE" : "OK" };
  } finally {
    parts.wakeRunner();
  }
}

async function look(context: RequestContext, id: string): Promise<SeenMachine> {
  const { line } = await context.parts.store.read((sql) => findOwnMachine(sql, context.principal, id));
  return await context.machineViews.of(line);
}
