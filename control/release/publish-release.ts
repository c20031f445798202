/** Turns traffic to the new release: its machines are uncordoned, then its services become the app's. */
import { announceApp } from "../publish/announce.ts";
import { setCurrentRelease } from "../store/apps.ts";
import { livingMachinesOfRelease } from "../store/machines.ts";
import type { Deployment } from "./deployment.ts";

export async function publishRelease(deployment: Deployment): Promise<void> {
  const { release, app, tools, signal } = deployment;
  const lines = await tools.store.read((sql) => livingMachinesOfRelease(sql, release.id));
  await Promise.all(lines.map(async (line) => {
    const client = await deployment.clientOfHost(line.hostId);
    await deployment.whileHostAway(() => client.act(line.id, "uncordon", { signal }));
  }));
  await deployment.record({ step: "published" }, async (tx) => {
    await setCurrentRelease(tx, app.id, release);
    await announceApp(tx, app.id);
  });
  await deployment.say(`Version ${release.version} takes the traffic`);
}
