/** Finds a host for each machine of the release and writes it into the ledger, before any worker makes anything. */
import { newMachineId } from "../contract/names.ts";
import { findPlace } from "../place/market.ts";
import { hostsReady } from "../store/hosts.ts";
import { insertMachine, livingMachinesOfApp, livingMachinesOfRelease } from "../store/machines.ts";
import type { Deployment } from "./deployment.ts";

export async function placeMachines(deployment: Deployment): Promise<void> {
  const { store, clientOf } = deployment.tools;
  const { release, app } = deployment;
  if (release.step === "placed") return;
  const placed = await store.read((sql) => livingMachinesOfRelease(sql, release.id));
  for (let n = placed.length; n < release.machineCount; n++) {
    const machineId = newMachineId();
    const present = countByHost(await store.read((sql) => livingMachinesOfApp(sql, app.id)));
    const place = await deployment.whileHostAway(async () =>
      await findPlace(
        await store.read(hostsReady),
        { machineId, guest: release.guest, imageDigest: release.imageDigest!, present },
        clientOf,
      )
    );
    await deployment.record({}, (tx) =>
      insertMachine(tx, {
        id: machineId,
        appId: app.id,
        releaseId: release.id,
        hostId: place.host.id,
        region: place.host.region,
      }));
    deployment.offers.set(machineId, place.offerId);
    await deployment.say(`Machine ${machineId} placed on host ${place.host.id} in ${place.host.region}`);
  }
  await deployment.record({ step: "placed" });
}

function countByHost(lines: readonly { hostId: string }[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { hostId } of lines) counts.set(hostId, (counts.get(hostId) ?? 0) + 1);
  return counts;
}
