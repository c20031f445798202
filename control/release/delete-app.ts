/**
 * Finishes the deletion of an app. Its wish, the tombstones of its routing and the wish to destroy its machines were
 * committed together by the API; here its machines go, and its rows after them. Can be repeated.
 */
import { type App, deleteAppRows, lockApp } from "../store/apps.ts";
import { livingMachinesOfApp, wantDestroyed } from "../store/machines.ts";
import { type DeployTools } from "./deployment.ts";
import { destroyMachine } from "./destroy-machine.ts";

/** False where machines are left, to be tried again later. */
export async function finishDeletion(tools: DeployTools, app: App): Promise<boolean> {
  const machines = await tools.store.read((sql) => livingMachinesOfApp(sql, app.id));
  await tools.store.read((sql) => wantDestroyed(sql, machines.map((line) => line.id)));
  const destroyed = await Promise.all(machines.map((line) => destroyMachine(tools, line)));
  if (destroyed.includes(false)) return false;
  await tools.store.transaction(async (tx) => {
    if (await lockApp(tx, app.id) === null) return;
    await deleteAppRows(tx, app.id);
  });
  tools.log("info", "app deleted", { app: app.name });
  return true;
}
