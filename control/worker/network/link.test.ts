import { expect, test } from "bun:test";
import { GodwitError } from "../../contract/errors.ts";
import { indexOf, linkName, linkOf, type LinkRequest } from "./link.ts";

const range = { prefix: "gw0a1b2c", range4: "172.20.16.0/20", range6: "fd12:3456:789a::/48" };
const request: LinkRequest = {
  index: 1,
  machineId: "9080e6f3a12b04",
  orgId: "00000000000000000001",
  orgNetwork: 0xbeef,
  kind: "tap",
};

test("linkOf() cuts a /31 by index and builds the IPv6 address from network and machine id", () => {
  expect(linkOf(range, request)).toEqual({
    name: "gw0a1b2ct1",
    mac: "02:90:80:e6:f3:a1",
    interface: "eth0",
    mtu: 1_500,
    address4: "172.20.16.3/31",
    gateway4: "172.20.16.2",
    address6: "fd12:3456:789a:beef:90:80e6:f3a1:2b04/128",
    gateway6: "fe80::1",
  });
});

test("linkOf() gives every index of the range its own addresses, all inside it", () => {
  const links = Array.from({ length: 2_048 }, (_, index) => linkOf(range, { ...request, index }));
  expect(new Set(links.flatMap((link) => [link.address4, `${link.gateway4}/31`])).size).toBe(4_096);
  expect(links.at(-1)?.address4).toBe("172.20.31.255/31");
});

test("linkOf() writes IPv6 addresses as the kernel prints them", () => {
  const link = linkOf(range, { ...request, machineId: "00000000000001", orgNetwork: 0 });
  expect(link.address6).toBe("fd12:3456:789a::1/128");
});

test.each([[{ index: 2_048 }], [{ index: -1 }], [{ orgNetwork: 65_536 }]])(
  "linkOf() refuses %p with network.range_exhausted",
  (change) => {
    expect(codeOf(() => linkOf(range, { ...request, ...change }))).toBe("network.range_exhausted");
  },
);

test.each(["172.20.16.1/20", "172.20.16.0", "300.0.0.0/20", "fd00::/48"])(
  "linkOf() refuses %s as an IPv4 range",
  (range4) => expect(codeOf(() => linkOf({ ...range, range4 }, request))).toBe("network.invalid_range"),
);

test("linkOf() refuses an IPv6 range that is no /48", () => {
  expect(codeOf(() => linkOf({ ...range, range6: "fd00::/64" }, request))).toBe("network.invalid_range");
});

test("linkName() leaves room for the other end of a veth within IFNAMSIZ", () => {
  expect(linkName("gw0a1b2c", 99_999)).toHaveLength(14);
  expect(codeOf(() => linkName("gw0a1b2c", 100_000))).toBe("network.range_exhausted");
});

test("indexOf() knows this prefix's links from all else", () => {
  expect(indexOf("gw0a1b2c", "gw0a1b2ct17")).toBe(17);
  for (const name of ["gw0a1b2ct17p", "gw0a1b2dt17", "gw0a1b2ct", "gw0a1b2ct01", "eth0"]) {
    expect(indexOf("gw0a1b2c", name)).toBeNull();
  }
});

function codeOf(act: () => unknown): string | null {
  try {
    act();
    return null;
  } catch (error) {
    return error instanceof GodwitError ? error.code : String(error);
  }
}
