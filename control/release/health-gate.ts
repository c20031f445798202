/**
 * Lets the release pass once each of its machines still runs, in its first run, and something listens, where the edge can reach it, on every
 * internal port of its services. Without services it must only keep running for a moment.
 */
import { GodwitError } from "../contract/errors.ts";
import type { GuestListeners } from "../contract/guest-api.ts";
import type { MachineView } from "../contract/machine.ts";
import type { WorkerClient } from "../place/worker-client.ts";
import { livingMachinesOfRelease, type MachineLine } from "../store/machines.ts";
import { type Deployment, LISTENERS_POLL_MS } from "./deployment.ts";
import { describeListeners, missingPorts } from "./listening.ts";
import { machineEnded } from "./machine-ended.ts";

/** How long a machine without services must run to count as well. */
export const KEEPS_RUNNING_S = 2;

export async function passHealthGate(deployment: Deployment): Promise<void> {
  const { release, tools } = deployment;
  const lines = await tools.store.read((sql) => livingMachinesOfRelease(sql, release.id));
  await Promise.all(lines.map(async (line) => {
    const client = await deployment.clientOfHost(line.hostId);
    if (release.services.length === 0) await keepsRunning(deployment, client, line);
    else await listens(deployment, client, line);
  }));
}

async function keepsRunning(deployment: Deployment, client: WorkerClient, line: MachineLine): Promise<void> {
  try {
    const call = { signal: deployment.signal };
    const ended = await deployment.whileHostAway(() =>
      client.wait(line.id, ["stopped", "failed", "destroyed"], KEEPS_RUNNING_S, call)
    );
    throw await machineEnded(client, ended);
  } catch (error) {
    if (!(error instanceof GodwitError) || error.code !== "machine.wait_timeout") throw error;
  }
  const view = await deployment.whileHostAway(() => client.machine(line.id, { signal: deployment.signal }));
  if (hasEnded(view)) throw await machineEnded(client, view);
}

/** Its restart policy may have it run again already: that it ended at all fails the deploy. */
function hasEnded(view: MachineView): boolean {
  return view.state !== "started" || (view.restarts ?? 0) > 0;
}

async function listens(deployment: Deployment, client: WorkerClient, line: MachineLine): Promise<void> {
  const { services } = deployment.release;
  const call = { signal: deployment.signal };
  for (let said = "";;) {
    const view = await deployment.whileHostAway(() => client.machine(line.id, call));
    if (hasEnded(view)) throw await machineEnded(client, view);
    const listeners = await listenersOf(deployment, client, line.id);
    const missing = missingPorts(services, listeners, view);
    if (missing.length === 0) return;
    if (deployment.tools.now() >= deployment.deadlineMs) {
      throw notListening(deployment, line.id, missing, listeners);
    }
    const words = `Waiting for machine ${line.id} to listen on port ${missing.join(" and ")}`;
    if (words !== said) await deployment.say(said = words);
    await deployment.pause(LISTENERS_POLL_MS);
  }
}

/** A guest that ends right now cannot be asked any more: the next look at its state tells. */
async function listenersOf(
  deployment: Deployment,
  client: WorkerClient,
  id: string,
): Promise<GuestListeners["listeners"]> {
  try {
    return await client.listeners(id, { signal: deployment.signal });
  } catch (error) {
    if (error instanceof GodwitError) return [];
    throw error;
  }
}

function notListening(
  deployment: Deployment,
  id: string,
  missing: readonly number[],
  listeners: GuestListeners["listeners"],
): GodwitError {
  const wanted = missing.map((port) => `0.0.0.0:${port}`).join(" and ");
  const found = listeners.length === 0
    ? `does not listen on ${wanted}, nor on anything else`
    : `listens on ${describeListeners(listeners)}, not on ${wanted}`;
  return new GodwitError(
    "release.not_listening",
    `Machine ${id} ${found}, after ${deployment.release.waitTimeoutS} s`,
    {
      fault: "app",
      hint: "Let the app listen on 0.0.0.0 or :: at the service's internal_port, or change internal_port.",
    },
  );
}
