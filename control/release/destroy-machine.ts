/**
 * Destroys a machine whose ledger line already says that it is to be gone, and closes the line once its worker says that
 * it is. Can be repeated at any time, by several processes at once.
 */
import { GodwitError, messageOf } from "../contract/errors.ts";
import type { WorkerClient } from "../place/worker-client.ts";
import { hostById } from "../store/hosts.ts";
import { type MachineLine, markDestroyed } from "../store/machines.ts";
import type { DeployTools } from "./deployment.ts";

/** For the worker to finish; what takes longer is the reaper's. */
export const DESTROY_WAIT_S = 30;

/** False where it must be tried again later; the log says why. */
export async function destroyMachine(tools: DeployTools, line: MachineLine): Promise<boolean> {
  const host = await tools.store.read((sql) => hostById(sql, line.hostId));
  try {
    await destroyAtWorker(tools.clientOf(host!), line.id);
  } catch (error) {
    if (!(error instanceof GodwitError)) throw error;
    tools.log("warn", `machine not destroyed yet: ${messageOf(error)}`, {
      machine: line.id,
      host: line.hostId,
      code: error.code,
    });
    return false;
  }
  await tools.store.read((sql) => markDestroyed(sql, line.id));
  return true;
}

async function destroyAtWorker(client: WorkerClient, id: string): Promise<void> {
  try {
    const view = await client.destroy(id);
    if (view.state !== "destroyed") await client.wait(id, ["destroyed"], DESTROY_WAIT_S);
  } catch (error) {
    // A worker that does not know the machine never made it, or has forgotten it after destroying it.
    if (!(error instanceof GodwitError) || error.code !== "machine.not_found") throw error;
  }
}
