import { expect, test } from "bun:test";
import { keySlot, primariesOf, primaryOf, readSlots } from "./cluster-slots.ts";

test("keySlot() counts as Redis does", () => {
  // The specification's own example, and CLUSTER KEYSLOT of Redis 7.0.
  expect(keySlot("123456789")).toBe(12_739);
  expect(keySlot("{user1000}.following")).toBe(keySlot("user1000"));
  expect(keySlot("foo{}{bar}")).toBe(8_363);
  expect(keySlot("godwit:state:global")).not.toBe(keySlot("godwit:state:region:ams"));
});

test("readSlots() names primaries, and who was asked where a server does not know its address", () => {
  const ranges = readSlots([
    [0, 8_000, ["10.0.0.1", 7000, "id", []], ["10.0.0.4", 7000, "id"]],
    [8_001, 9_000, ["", 7001, "id"]],
    [9_001, 9_001, ["10.0.0.1", 7000, "id"]],
  ], { host: "asked", port: 1 });
  expect(primaryOf(ranges, 8_000)).toEqual({ host: "10.0.0.1", port: 7000 });
  expect(primaryOf(ranges, 8_001)).toEqual({ host: "asked", port: 7001 });
  expect(primaryOf(ranges, 9_002)).toBeNull();
  expect(primariesOf(ranges)).toEqual([{ host: "10.0.0.1", port: 7000 }, { host: "asked", port: 7001 }]);
});
