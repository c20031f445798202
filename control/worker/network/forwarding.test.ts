import { expect, test } from "bun:test";
import { type HostForwarding, type Memory, planClosing, planOpening, uplinksOf } from "./forwarding.ts";

const nothing: Memory = { opened4: new Set(), opened6: new Set(), accept_ra2: new Set() };
const host: HostForwarding = {
  ipForward: "0",
  ipv6AllForwarding: "0",
  uplinks: [{ name: "eth0", forwarding4: "0", forceForwarding6: "0" }],
  inet6: [],
  hasForceForwarding: true,
};
const opened: HostForwarding = {
  ...host,
  uplinks: [{ name: "eth0", forwarding4: "1", forceForwarding6: "1" }],
};
const mine: Memory = { opened4: new Set(["eth0"]), opened6: new Set(["eth0"]), accept_ra2: new Set() };

/** A host with a kernel before 6.17: two interfaces, one that was told to forward by its operator. */
const old: HostForwarding = {
  ...host,
  uplinks: [{ name: "eth0", forwarding4: "1", forceForwarding6: null }],
  hasForceForwarding: false,
  inet6: [
    { name: "default", forwarding: "0", acceptRa: "1" },
    { name: "eth0", forwarding: "0", acceptRa: "1" },
    { name: "eth1", forwarding: "0", acceptRa: "0" },
    { name: "wg0", forwarding: "1", acceptRa: "1" },
  ],
};

test("planOpening() opens the uplink alone, and remembers it", () => {
  const { remember, settings } = planOpening(host, nothing, nothing);
  expect(remember).toEqual(mine);
  expect(settings).toEqual([
    ["net/ipv4/conf/eth0/forwarding", "1"],
    ["net/ipv6/conf/eth0/force_forwarding", "1"],
  ]);
});

test("planOpening() again keeps the memory and sets nothing, also of an uplink that is none any more", () => {
  expect(planOpening(opened, mine, nothing)).toEqual({ remember: mine, settings: [] });
  expect(planOpening({ ...opened, uplinks: [] }, mine, nothing)).toEqual({ remember: mine, settings: [] });
});

test("planOpening() takes no part in an interface that the operator opened", () => {
  expect(planOpening(opened, nothing, nothing)).toEqual({ remember: nothing, settings: [] });
});

test("planOpening() forgets what is ours once the whole host is a router", () => {
  const router = { ...opened, ipForward: "1", ipv6AllForwarding: "1" };
  expect(planOpening(router, mine, nothing)).toEqual({ remember: nothing, settings: [] });
});

test("planOpening() and planClosing() let the last of two stacks put an uplink back", () => {
  expect(planOpening(opened, nothing, mine).remember).toEqual(mine);
  expect(planClosing(opened, mine, mine)).toEqual([]);
  expect(planClosing(opened, mine, nothing)).toEqual([
    ["net/ipv4/conf/eth0/forwarding", "0"],
    ["net/ipv6/conf/eth0/force_forwarding", "0"],
  ]);
});

test("planClosing() leaves a host alone that somebody else made a router since", () => {
  const router = { ...opened, ipForward: "1" };
  expect(planClosing(router, mine, nothing)).toEqual([["net/ipv6/conf/eth0/force_forwarding", "0"]]);
});

test("planOpening() on an older kernel saves the host's router advertisements before the one switch", () => {
  const { remember, settings } = planOpening(old, nothing, nothing);
  expect(settings).toEqual([
    ["net/ipv6/conf/default/accept_ra", "2"],
    ["net/ipv6/conf/eth0/accept_ra", "2"],
    ["net/ipv6/conf/all/forwarding", "1"],
  ]);
  expect([...remember.opened6]).toEqual(["default", "eth0", "eth1"]);
  expect([...remember.accept_ra2]).toEqual(["default", "eth0"]);
});

test("planClosing() on an older kernel puts back all of it, and keeps what the operator had on", () => {
  const { remember } = planOpening(old, nothing, nothing);
  const after: HostForwarding = {
    ...old,
    ipv6AllForwarding: "1",
    inet6: old.inet6.map(({ name, acceptRa }) => ({
      name,
      forwarding: "1",
      acceptRa: remember.accept_ra2.has(name) ? "2" : acceptRa,
    })),
  };
  expect(planOpening(after, remember, nothing)).toEqual({ remember, settings: [] });
  expect(planClosing(after, remember, nothing)).toEqual([
    ["net/ipv6/conf/all/forwarding", "0"],
    ["net/ipv6/conf/default/accept_ra", "1"],
    ["net/ipv6/conf/eth0/accept_ra", "1"],
    ["net/ipv6/conf/wg0/forwarding", "1"],
  ]);
});

test("uplinksOf() finds the interfaces of plain and multipath default routes", () => {
  expect(
    uplinksOf([{ dst: "default", dev: "eth0" }, {
      dst: "default",
      nexthops: [{ dev: "eth1" }, { dev: "eth0" }],
    }]),
  )
    .toEqual(["eth0", "eth1"]);
});
