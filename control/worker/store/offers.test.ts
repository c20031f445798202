import { expect, test } from "bun:test";
import { deleteOffer, deleteOfferOf, insertOffer, openOffers } from "./offers.ts";
import { aStore } from "./store.fixture.ts";

const offer = (id: string, machine_id: string, expires_at_ms: number) => ({
  id,
  machine_id,
  memory_mb: 256,
  expires_at_ms,
});

test("openOffers() drops those whose time is over", () => {
  let now = 0;
  const store = aStore(() => now);
  store.write(() => [offer("a", "m1", 10), offer("b", "m2", 20)].forEach((o) => insertOffer(store, o)));
  now = 10;
  expect(openOffers(store).map(({ id }) => id)).toEqual(["b"]);
  now = 20;
  expect(openOffers(store)).toEqual([]);
});

test("a machine has one offer, the newest, until it is taken up or given back", () => {
  const store = aStore(() => 0);
  store.write(() =>
    [offer("a", "m1", 10), offer("b", "m1", 10), offer("c", "m2", 10)].forEach((o) => insertOffer(store, o))
  );
  expect(openOffers(store).map(({ id }) => id).sort()).toEqual(["b", "c"]);
  store.write(() => deleteOfferOf(store, "m1"));
  store.write(() => deleteOffer(store, "c"));
  expect(openOffers(store)).toEqual([]);
});
