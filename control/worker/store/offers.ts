/** Reservations of memory that control may take up within OFFER_TTL_S. One per machine; a new one replaces it. */
import type { Store } from "./store.ts";

export interface Offer {
  readonly id: string;
  readonly machine_id: string;
  readonly memory_mb: number;
  readonly expires_at_ms: number;
}

/** More than this many open offers are a caller gone wild. */
export const OFFERS_MAX = 1_000;

export function insertOffer(store: Store, offer: Offer): void {
  store.db.query(
    "INSERT OR REPLACE INTO offers (id, machine_id, memory_mb, expires_at_ms) VALUES (?, ?, ?, ?)",
  )
    .run(offer.id, offer.machine_id, offer.memory_mb, offer.expires_at_ms);
}

/** Open offers; lapsed ones are dropped on the way. */
export function openOffers(store: Store): Offer[] {
  return store.write(() => {
    store.db.query("DELETE FROM offers WHERE expires_at_ms <= ?").run(store.now());
    return store.db.query<Offer, []>("SELECT * FROM offers").all();
  });
}

export function deleteOffer(store: Store, id: string): void {
  store.db.query("DELETE FROM offers WHERE id = ?").run(id);
}

/** The machine takes up its offer, or no longer needs it. */
export function deleteOfferOf(store: Store, machineId: string): void {
  store.db.query("DELETE FROM offers WHERE machine_id = ?").run(machineId);
}
