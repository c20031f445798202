/**
 * From the image's reference to its digest, which is what the release runs from then on, whatever happens to the tag.
 * Any ready worker can tell: it pulls and verifies the image on the way.
 */
import { GodwitError } from "../contract/errors.ts";
import type { ImageAnswer } from "../contract/worker-api.ts";
import { requireHosts } from "../place/market.ts";
import { hostsReady } from "../store/hosts.ts";
import type { Deployment } from "./deployment.ts";
import { pullImage } from "./pull-image.ts";

export async function resolveImage(deployment: Deployment): Promise<void> {
  const { imageRef, imageDigest } = deployment.release;
  if (imageDigest !== null) return;
  await deployment.say(`Resolving image ${imageRef}`);
  const answer = await deployment.whileHostAway(() => askWorkers(deployment));
  await deployment.record({ imageDigest: answer.digest });
  await deployment.say(`Image is ${answer.digest}, ${Math.ceil(answer.size_bytes / 1_048_576)} MB`);
}

async function askWorkers(deployment: Deployment): Promise<ImageAnswer> {
  const hosts = await deployment.tools.store.read(hostsReady);
  requireHosts(hosts);
  let unreachable: unknown;
  for (const host of hosts) {
    try {
      return await pullImage(deployment, deployment.tools.clientOf(host), deployment.release.imageRef);
    } catch (error) {
      // The next worker can tell as well; every other failure is about the image.
      if (!(error instanceof GodwitError) || error.code !== "place.host_unreachable") throw error;
      unreachable = error;
    }
  }
  throw unreachable;
}
