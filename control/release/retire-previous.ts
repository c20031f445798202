/**
 * Clears away the machines of earlier releases: cordon, let edges see it, stop as the app is used to, destroy. The wish
 * is durable first, so that what cannot be done now (its host is away) is done later by the reaper.
 */
import { GodwitError } from "../contract/errors.ts";
import { STOP_TIMEOUT_S_DEFAULT } from "../contract/machine.ts";
import type { WorkerClient } from "../place/worker-client.ts";
import { livingMachinesOfApp, type MachineLine, wantDestroyed } from "../store/machines.ts";
import { destroyMachine } from "./destroy-machine.ts";
import { type Deployment, DRAIN_MS } from "./deployment.ts";

/** Beyond the stop's own timeout, for the VM to end. */
const stopGraceS = 5;

export async function retirePrevious(deployment: Deployment): Promise<void> {
  const { release, app, tools } = deployment;
  const living = await tools.store.read((sql) => livingMachinesOfApp(sql, app.id));
  const previous = living.filter((line) => line.releaseId !== release.id);
  if (previous.length === 0) return;
  await deployment.record({}, (tx) => wantDestroyed(tx, previous.map((line) => line.id)));
  const clients = await Promise.all(previous.map((line) => deployment.clientOfHost(line.hostId)));
  await Promise.all(clients.map((client, i) => orLater(client.act(previous[i]!.id, "cordon"))));
  await deployment.pause(tools.drainMs ?? DRAIN_MS);
  await Promise.all(clients.map((client, i) => stopAndDestroy(deployment, client, previous[i]!)));
}

async function stopAndDestroy(
  deployment: Deployment,
  client: WorkerClient,
  line: MachineLine,
): Promise<void> {
  await orLater(client.stop(line.id, { signal: null, timeout_s: null }));
  await orLater(client.wait(line.id, ["stopped", "failed"], STOP_TIMEOUT_S_DEFAULT + stopGraceS));
  const done = await destroyMachine(deployment.tools, line);
  await deployment.say(
    done ? `Machine ${line.id} destroyed` : `Machine ${line.id} will be destroyed when its host is back`,
  );
}

/** Cordon and stop are for a gentle end; destroying works without them. */
async function orLater(call: Promise<unknown>): Promise<void> {
  try {
    await call;
  } catch (error) {
    if (!(error instanceof GodwitError)) throw error;
  }
}
