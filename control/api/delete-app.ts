import { requireScope } from "../access/permission.ts";
import { announceApp, announceHostname } from "../publish/announce.ts";
import { lockApp, markAppDeleting } from "../store/apps.ts";
import { deleteHostnamesOfApp } from "../store/hostnames.ts";
import { livingMachinesOfApp, wantDestroyed } from "../store/machines.ts";
import type { RequestContext } from "./context.ts";
import { onceInStore } from "./idempotent.ts";
import { findOwnApp } from "./not-found.ts";

/**
 * From its return on the app is routed no more, and the wish to destroy its machines is durable; the release runner
 * carries it out and then removes the app's rows. Until then its name is taken.
 */
export async function deleteApp(
  context: RequestContext,
  input: { readonly name: string },
  key: string | null,
): Promise<string> {
  const { principal, parts } = context;
  requireScope(principal, "write");
  const mutation = { principal, operation: "deleteApp", key, input };
  const { name } = await onceInStore(parts.store, mutation, async (tx) => {
    const app = await findOwnApp(tx, principal, input.name);
    await lockApp(tx, app.id);
    await markAppDeleting(tx, app.id);
    for (const hostname of await deleteHostnamesOfApp(tx, app.id)) await announceHostname(tx, hostname);
    await announceApp(tx, app.id);
    const machines = await livingMachinesOfApp(tx, app.id);
    await wantDestroyed(tx, machines.map((line) => line.id));
    return { name: app.name };
  });
  parts.wakeRunner();
  return name;
}
