/**
 * Placement is a market: a worker alone knows what it has left, so all ready workers are asked for an offer, the best one
 * is taken, and the others are withdrawn (or lapse by themselves after OFFER_TTL_S).
 */
import { GodwitError } from "../contract/errors.ts";
import type { Guest } from "../contract/machine.ts";
import type { OfferAnswer } from "../contract/worker-api.ts";
import type { Host } from "../store/hosts.ts";
import { chooseOffer } from "./choose.ts";
import type { WorkerClient } from "./worker-client.ts";

/** A worker that answers later is not asked to carry more. */
export const OFFER_TIMEOUT_MS = 3_000;

export interface PlacementWish {
  readonly machineId: string;
  readonly guest: Guest;
  readonly imageDigest: string;
  /** Machines of the app by host. */
  readonly present: ReadonlyMap<string, number>;
}

export interface Placement {
  readonly host: Host;
  readonly offerId: string;
}

export async function findPlace(
  hosts: readonly Host[],
  wish: PlacementWish,
  clientOf: (host: Host) => WorkerClient,
): Promise<Placement> {
  requireHosts(hosts);
  const request = { machine_id: wish.machineId, guest: wish.guest, image_digest: wish.imageDigest };
  const answers = await Promise.allSettled(
    hosts.map((host) => clientOf(host).offer(request, { timeoutMs: OFFER_TIMEOUT_MS })),
  );
  const offers = answers.flatMap((answer) => answer.status === "fulfilled" ? [answer.value] : []);
  const best = chooseOffer(offers, wish.present);
  if (best === null) throw noOffer(answers, wish.guest);
  const hostOf = (offer: OfferAnswer) => hosts.find((host) => host.id === offer.host_id);
  const host = hostOf(best);
  if (host === undefined) {
    throw new GodwitError(
      "place.worker_answer_invalid",
      `Cannot place a machine: an offer names the host ${best.host_id}, which was not asked`,
      { fault: "us" },
    );
  }
  for (const offer of offers) {
    const other = hostOf(offer);
    if (offer === best || other === undefined) continue;
    // Withdrawing is a courtesy: an offer that is not taken lapses by itself.
    clientOf(other).withdrawOffer(offer.id, { timeoutMs: OFFER_TIMEOUT_MS }).catch(() => {});
  }
  return { host, offerId: best.id };
}

export function requireHosts(hosts: readonly Host[]): void {
  if (hosts.length > 0) return;
  throw new GodwitError("place.no_host", "Cannot place a machine: no worker is ready", {
    fault: "us",
    retryable: true,
    hint: "Start a worker; it makes itself known to control within seconds.",
  });
}

function noOffer(answers: readonly PromiseSettledResult<OfferAnswer>[], guest: Guest): GodwitError {
  const reasons = answers.flatMap((a) => a.status === "rejected" ? [a.reason as unknown] : []);
  const unexpected = reasons.find((r) => !(r instanceof GodwitError) || r.code !== "place.no_capacity");
  if (unexpected instanceof GodwitError) return unexpected;
  return new GodwitError(
    "place.no_capacity",
    `Cannot place a machine with ${guest.cpus} CPUs and ${guest.memory_mb} MB: none of ${answers.length} workers has room`,
    {
      fault: "us",
      retryable: true,
      hint: "Choose a smaller guest, remove machines, or add a host.",
      cause: reasons[0],
    },
  );
}
