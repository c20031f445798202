import { expect, test } from "bun:test";
import fc from "fast-check";
import { chooseRanges, takenRoutes } from "./range.ts";

const hash = "0123456789abcdef0123456789000010";

test("chooseRanges() follows the home's hash", () => {
  expect(chooseRanges(hash, [])).toEqual({ range4: "172.17.0.0/20", range6: "fd01:2345:6789::/48" });
});

test("chooseRanges() takes the next /20 where a route overlaps the first", () => {
  expect(chooseRanges(hash, ["default", "172.17.0.0/16"]).range4).toBe("172.18.0.0/20");
  expect(chooseRanges(hash, ["172.17.3.4"]).range4).toBe("172.17.16.0/20");
  expect(chooseRanges(hash, ["192.0.2.0/24", "172.17.16.0/20"]).range4).toBe("172.17.0.0/20");
});

test("chooseRanges() goes round at the end of 172.16.0.0/12", () => {
  expect(chooseRanges("0123456789abcdef0123456789ffffff", ["172.31.240.0/20"]).range4).toBe("172.16.0.0/20");
});

test("chooseRanges() says when nothing is free", () => {
  expect(() => chooseRanges(hash, ["172.0.0.0/8"])).toThrow("every /20 of 172.16.0.0/12 overlaps");
});

test("chooseRanges() never overlaps a taken /20", () => {
  const route = fc.integer({ min: 0, max: 255 }).map((n) => `172.${16 + (n >> 4)}.${(n & 15) * 16}.0/20`);
  fc.assert(fc.property(
    fc.stringMatching(/^[0-9a-f]{32}$/),
    fc.uniqueArray(route, { maxLength: 255 }),
    (home, taken) => !taken.includes(chooseRanges(home, taken).range4),
  ));
});

test("takenRoutes() lists this host's destinations", async () => {
  expect(await takenRoutes()).toContain("127.0.0.0/8");
});
