import { expect, test } from "bun:test";
import { addressMessage, defaultRouteMessage, linkUpMessage } from "../system/netlink.ts";
import { parseAddress } from "./network.ts";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

test("parseAddress() reads both families, with and without length", () => {
  expect(parseAddress("172.30.0.3/31")).toEqual({
    family: 4,
    bytes: Uint8Array.of(172, 30, 0, 3),
    prefixLength: 31,
  });
  expect(parseAddress("10.0.0.1").prefixLength).toBe(32);
  expect(hex(parseAddress("fd00::1:15/64").bytes)).toBe("fd000000000000000000000000010015");
  expect(hex(parseAddress("::").bytes)).toBe("0".repeat(32));
  expect(hex(parseAddress("::ffff:10.0.0.1").bytes)).toBe("00000000000000000000ffff0a000001");
  expect(parseAddress("fe80::2").prefixLength).toBe(128);
});

test("parseAddress() refuses what is no address", () => {
  expect(() => parseAddress("eth0")).toThrow('Cannot use the address "eth0"');
});

test("netlink messages hold header, flags, body and aligned attributes (rtnetlink(7))", () => {
  expect(hex(linkUpMessage(2, 1_420))).toBe(
    "28000000" + "1000" + "0500" + "01000000" + "00000000" + "00000000" + "02000000" + "01000000" +
      "01000000" +
      "0800" + "0400" + "8c050000",
  );
  expect(hex(addressMessage(2, parseAddress("10.0.0.1/31")))).toBe(
    "28000000" + "1400" + "0505" + "01000000" + "00000000" + "021f0200" + "02000000" + "0800" + "0200" +
      "0a000001" +
      "0800" + "0100" + "0a000001",
  );
  expect(hex(defaultRouteMessage(2, parseAddress("10.0.0.0")))).toBe(
    "2c000000" + "1800" + "0505" + "01000000" + "00000000" + "02000000" + "fe030001" + "04000000" + "0800" +
      "0500" +
      "0a000000" + "0800" + "0400" + "02000000",
  );
});
