import { expect, test } from "bun:test";
import { addressRange, TokenBuckets } from "./handshake-limits.ts";

test("TokenBuckets gives the burst at once, then its rate, each key its own", () => {
  const buckets = new TokenBuckets(10, 3, 100);
  const taken = (key: string, nowMs: number, count: number) =>
    Array.from({ length: count }, () => buckets.take(key, nowMs)).filter(Boolean).length;
  expect(taken("a", 0, 10)).toBe(3);
  expect(taken("b", 0, 10)).toBe(3);
  expect(taken("a", 99, 1)).toBe(0);
  expect(taken("a", 100, 5)).toBe(1);
  expect(taken("a", 10_000, 10)).toBe(3);
});

test("TokenBuckets keeps a bounded number of buckets, and counts those it forgot too early", () => {
  const buckets = new TokenBuckets(1, 2, 3);
  for (const key of ["a", "b", "c"]) buckets.take(key, 0);
  buckets.take("a", 1);
  buckets.take("d", 2);
  expect(buckets.size).toBe(3);
  expect(buckets.forgotten).toBe(1);
  expect(buckets.take("a", 3)).toBe(false);
  buckets.take("e", 60_000);
  expect(buckets.forgotten).toBe(1);
});

test("addressRange() is the /24 or the /48, and nothing for loopback", () => {
  expect(addressRange("192.0.2.77")).toBe("192.0.2");
  expect(addressRange("::ffff:192.0.2.77")).toBe("192.0.2");
  expect(addressRange("2001:db8:1:2::3")).toBe("2001:db8:1::");
  expect(addressRange("2001:db8::3")).toBe("2001:db8:0::");
  expect(addressRange("2001:db8:1:2:3:4:5:6")).toBe("2001:db8:1::");
  expect(addressRange("fe80::1")).toBe("fe80:0:0::");
  expect(addressRange("::2")).toBe("0:0:0::");
  for (const own of ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"]) {
    expect(addressRange(own)).toBe(null);
  }
});
