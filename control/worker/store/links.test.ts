import { expect, test } from "bun:test";
import fc from "fast-check";
import { allocateLink, freeLink, LINK_INDEX_MAX, linkOf, listLinks, orgNetworkOf } from "./links.ts";
import { aStore } from "./store.fixture.ts";

test("allocateLink() gives the smallest free index, and a machine the one that it has", () => {
  const store = aStore();
  expect(["a", "b", "c"].map((id) => allocateLink(store, id))).toEqual([0, 1, 2]);
  expect(allocateLink(store, "b")).toBe(1);
  freeLink(store, "a");
  expect(linkOf(store, "a")).toBeNull();
  expect(allocateLink(store, "d")).toBe(0);
  expect(allocateLink(store, "e")).toBe(3);
});

test("allocateLink() never gives an index twice", () => {
  const step = fc.record({ id: fc.constantFrom("a", "b", "c", "d", "e", "f"), free: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const store = aStore();
      for (const { id, free } of steps) {
        if (free) freeLink(store, id);
        else expect(allocateLink(store, id)).toBeLessThan(6);
      }
      const owners = [...listLinks(store).values()];
      expect(new Set(owners).size).toBe(owners.length);
      store.close();
    }),
    { numRuns: 50 },
  );
});

test("allocateLink() says when all are taken", () => {
  const store = aStore();
  store.write(() => {
    for (let n = 0; n <= LINK_INDEX_MAX; n++) allocateLink(store, `m${n}`);
  });
  expect(() => allocateLink(store, "one more")).toThrow("all 2048 are taken");
});

test("orgNetworkOf() gives each organisation its own number, for good", () => {
  const store = aStore();
  expect([orgNetworkOf(store, "x"), orgNetworkOf(store, "y"), orgNetworkOf(store, "x")]).toEqual([1, 2, 1]);
});
