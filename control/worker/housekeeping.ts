/** What the agent does now and then: sweep, old rows, images that nobody uses. */
import type { Host } from "./host.ts";
import type { Engine } from "./operations/engine.ts";
import type { Requests } from "./requests.ts";
import { listMachines, pruneDestroyed } from "./store/machines.ts";
import { pruneOperations } from "./store/operations.ts";
import { sweep } from "./sweep.ts";

export const HOUSEKEEPING_INTERVAL_MS = 60_000;
/** A destroyed machine can be asked about for this long. */
export const DESTROYED_KEPT_MS = 3_600_000;
export const OPERATIONS_KEPT = 10_000;

export async function keepHouse(host: Host, engine: Engine, requests: Requests): Promise<void> {
  const { store, log } = host;
  engine.resume();
  for (const machine of listMachines(store)) {
    // A destroy that gave up is asked for again for as long as the machine is not gone.
    if (machine.state === "destroying" && !engine.isBusy(machine.id)) requests.destroy(machine.id);
  }
  const removed = await sweep(host, engine);
  if (removed.vms.length + removed.links.length + removed.folders.length > 0) {
    log.warn({ removed }, "removed what nobody owned");
  }
  for (const id of pruneDestroyed(store, store.now() - DESTROYED_KEPT_MS)) host.logs.forget(id);
  store.write(() => pruneOperations(store, OPERATIONS_KEPT));
  await host.network.prepare();
  await host.images.collect(imagesInUse(host));
}

/** Digests that a machine of this host needs. */
function imagesInUse(host: Host): Set<string> {
  return new Set(
    listMachines(host.store).filter((machine) => machine.state !== "destroyed")
      .map((machine) => machine.spec.image.digest),
  );
}
