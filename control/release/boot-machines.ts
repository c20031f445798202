/**
 * Creates and starts the release's machines, side by side, and waits until each one's process was spawned. They are
 * cordoned before they start: no edge sends a request before the health gate has let them pass.
 */
import { GodwitError } from "../contract/errors.ts";
import { MachineSpec, type MachineView } from "../contract/machine.ts";
import { WAIT_TIMEOUT_S_MAX } from "../contract/worker-api.ts";
import type { WorkerClient } from "../place/worker-client.ts";
import { livingMachinesOfRelease, type MachineLine } from "../store/machines.ts";
import type { Deployment } from "./deployment.ts";
import { pinnedReference } from "./image-reference.ts";
import { pullImage } from "./pull-image.ts";
import { machineEnded } from "./machine-ended.ts";

export async function bootMachines(deployment: Deployment): Promise<void> {
  const { release, tools } = deployment;
  const lines = await tools.store.read((sql) => livingMachinesOfRelease(sql, release.id));
  await Promise.all(lines.map((line) => bootMachine(deployment, line)));
}

async function bootMachine(deployment: Deployment, line: MachineLine): Promise<void> {
  const client = await deployment.clientOfHost(line.hostId);
  const call = { signal: deployment.signal };
  await deployment.whileHostAway(() => bringImage(deployment, client));
  await deployment.whileHostAway(() => client.create(specOf(deployment, line), call));
  await deployment.whileHostAway(() => client.act(line.id, "cordon", call));
  await deployment.say(`Starting machine ${line.id}`);
  await deployment.whileHostAway(() => client.act(line.id, "start", call));
  const view = await waitForStart(deployment, client, line.id);
  if (view.state !== "started") throw await machineEnded(client, view);
  await deployment.say(`Machine ${line.id} started`);
}

/** The image must be the one that was resolved, on whichever host it is needed. */
async function bringImage(deployment: Deployment, client: WorkerClient): Promise<void> {
  const { imageRef, imageDigest } = deployment.release;
  const answer = await pullImage(deployment, client, pinnedReference(imageRef, imageDigest!));
  if (answer.digest === imageDigest) return;
  throw new GodwitError(
    "release.image_moved",
    `Cannot deploy ${imageRef}: it was ${imageDigest} and is ${answer.digest} on host ${client.hostId}`,
    { fault: "client", retryable: true, hint: "Deploy again, or name the image by its digest." },
  );
}

function specOf(deployment: Deployment, line: MachineLine): MachineSpec {
  const { release, app } = deployment;
  return MachineSpec.parse({
    ...release.machine,
    schema: 1,
    id: line.id,
    org_id: app.orgId,
    app_id: app.id,
    app_name: app.name,
    release_id: release.id,
    region: line.region,
    image: { ref: release.imageRef, digest: release.imageDigest },
    guest: release.guest,
    env: release.env,
    entrypoint: release.entrypoint,
    command: release.command,
    services: release.services,
    offer_id: deployment.offers.get(line.id) ?? null,
  });
}

/** The view in the state `started`, or in one from which it will not come to be. */
async function waitForStart(deployment: Deployment, client: WorkerClient, id: string): Promise<MachineView> {
  for (;;) {
    const leftS = Math.ceil((deployment.deadlineMs - deployment.tools.now()) / 1_000);
    if (leftS <= 0) throw startTimeout(deployment, id);
    const timeoutS = Math.min(leftS, WAIT_TIMEOUT_S_MAX);
    try {
      return await deployment.whileHostAway(() =>
        client.wait(id, ["started"], timeoutS, { signal: deployment.signal })
      );
    } catch (error) {
      if (!(error instanceof GodwitError) || error.code !== "machine.wait_timeout") throw error;
    }
  }
}

function startTimeout(deployment: Deployment, id: string): GodwitError {
  return new GodwitError(
    "release.start_timeout",
    `Machine ${id} did not start within ${deployment.release.waitTimeoutS} s`,
    { fault: "us", retryable: true, hint: "Look at the machine's logs, or allow more time." },
  );
}
