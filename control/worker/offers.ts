/** Offers of this host in the market of placement: capacity reserved for seconds, taken up by a create or lapsed. */
import { cpus, totalmem } from "node:os";
import { GodwitError } from "../contract/errors.ts";
import { type HostView, OFFER_TTL_S, type OfferAnswer, type OfferRequest } from "../contract/worker-api.ts";
import type { HostRow } from "../contract/rows.ts";
import { type Load, memoryTakenMb, offerCost } from "./capacity.ts";
import type { Host } from "./host.ts";
import { machineSizes } from "./store/machines.ts";
import { insertOffer, OFFERS_MAX, openOffers } from "./store/offers.ts";
import { enqueue } from "./store/outbox.ts";
import { VERSION } from "./version.ts";

/** What machines may take together. */
export function memoryTotalMb(host: Pick<Host, "config">): number {
  return host.config.memory_mb_max || Math.floor(totalmem() / 1_048_576);
}

export function loadOf(host: Pick<Host, "store">): Load {
  return { machines: machineSizes(host.store), offers: openOffers(host.store) };
}

/** @throws GodwitError `place.no_capacity` where the machine's memory is not free beside all others. */
export function checkMemory(host: Pick<Host, "store" | "config">, machineId: string, memoryMb: number): void {
  const freeMb = memoryTotalMb(host) - memoryTakenMb(loadOf(host), machineId);
  if (memoryMb <= freeMb) return;
  throw new GodwitError(
    "place.no_capacity",
    `Cannot take machine ${machineId} on host ${host.config.host_id}: it needs ${memoryMb} MB, ${
      Math.max(0, freeMb)
    } MB are free`,
    { fault: "us", retryable: true, hint: "stop machines of this host, or ask another host" },
  );
}

/** @throws GodwitError `place.no_capacity`. */
export function makeOffer(host: Host, request: OfferRequest): OfferAnswer {
  const { store, config } = host;
  return store.write(() => {
    checkMemory(host, request.machine_id, request.guest.memory_mb);
    const load = loadOf(host);
    if (load.offers.length >= OFFERS_MAX) {
      throw new GodwitError("place.no_capacity", `Cannot offer: ${OFFERS_MAX} offers are open`, {
        fault: "us",
        retryable: true,
        hint: `offers lapse after ${OFFER_TTL_S} s`,
      });
    }
    const offer = {
      id: crypto.randomUUID(),
      machine_id: request.machine_id,
      memory_mb: request.guest.memory_mb,
      expires_at_ms: store.now() + OFFER_TTL_S * 1_000,
    };
    insertOffer(store, offer);
    const cost = offerCost(
      memoryTakenMb(load, request.machine_id),
      request.guest.memory_mb,
      memoryTotalMb(host),
      host.images.find(request.image_digest) !== null,
    );
    return { id: offer.id, host_id: config.host_id, expires_at_ms: offer.expires_at_ms, cost };
  });
}

export function hostViewOf(host: Host): HostView {
  const load = loadOf(host);
  const total = memoryTotalMb(host);
  return {
    id: host.config.host_id,
    region: host.config.region,
    version: VERSION,
    vmm: host.driver.name,
    acceleration: host.probe.acceleration,
    cpus: cpus().length,
    memory_mb: total,
    memory_free_mb: Math.max(0, total - memoryTakenMb(load)),
    machines: load.machines.filter((machine) => machine.state !== "destroyed").length,
  };
}

/** Publishes the host's row where it differs from what was published last. */
export function publishHost(host: Host): void {
  const row: HostRow = {
    id: host.config.host_id,
    region: host.config.region,
    state: "ready",
    cpus: cpus().length,
    memory_mb: memoryTotalMb(host),
  };
  const text = JSON.stringify(row);
  host.store.write(() => {
    if (host.store.fact("host_row") === text) return;
    host.store.setFact("host_row", text);
    enqueue(host.store, "hosts", row, false);
  });
}
