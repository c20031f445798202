import { expect, test } from "bun:test";
import fc from "fast-check";
import { addressBytes, addressOf, canonicalAddress } from "./address.ts";

test("canonicalAddress() writes an address in one way", () => {
  expect(canonicalAddress("FD00:0:0::0001")).toBe("fd00::1");
  expect(canonicalAddress("0:0:0:0:0:0:0:0")).toBe("::");
  expect(canonicalAddress("::1")).toBe("::1");
  expect(canonicalAddress("2001:db8:0:1:0:0:0:0")).toBe("2001:db8:0:1::");
  expect(canonicalAddress("1:0:2:3:4:5:6:7")).toBe("1:0:2:3:4:5:6:7");
  expect(canonicalAddress("::ffff:10.0.0.1")).toBe("::ffff:a00:1");
  expect(canonicalAddress("10.0.0.1")).toBe("10.0.0.1");
  expect(canonicalAddress("fe80::1%eth0")).toBe(null);
  expect(canonicalAddress("seed.example")).toBe(null);
});

test("addressBytes() and addressOf() undo each other", () => {
  fc.assert(fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
    expect(addressBytes(addressOf(Buffer.from(bytes)))).toEqual(Buffer.from(bytes));
  }));
  // A good part of it zero.
  fc.assert(fc.property(fc.array(fc.constantFrom(0, 0, 0, 1), { minLength: 16, maxLength: 16 }), (bytes) => {
    expect(addressBytes(addressOf(Buffer.from(bytes)))).toEqual(Buffer.from(bytes));
  }));
});
