import { expect, test } from "bun:test";
import { hostsOf, resolvConfOf } from "./hostname.ts";

test("hostsOf() names localhost, the machine by its addresses, and what the configuration adds", () => {
  const network = {
    interface: "eth0",
    mtu: 1_420,
    address4: "172.30.0.3/31",
    gateway4: null,
    address6: "fd00::3/64",
    gateway6: null,
    nameservers: [],
    searches: [],
  };
  expect(hostsOf({ hostname: "h", network, hosts: [{ address: "10.0.0.1", names: ["db", "db.internal"] }] }))
    .toBe(
      "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n" +
        "ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n" +
        "172.30.0.3\th\nfd00::3\th\n10.0.0.1\tdb db.internal\n",
    );
});

test("hostsOf() gives a machine without network a loopback address of its own", () => {
  expect(hostsOf({ hostname: "h", network: null, hosts: [] })).toContain("127.0.1.1\th\n");
});

test("resolvConfOf() writes nameservers and search domains", () => {
  expect(resolvConfOf({ nameservers: ["10.0.0.53", "fd00::53"], searches: ["internal", "app.internal"] }))
    .toBe(
      "nameserver 10.0.0.53\nnameserver fd00::53\nsearch internal app.internal\n",
    );
  expect(resolvConfOf({ nameservers: [], searches: [], options: ["ndots:2", "edns0"] })).toBe(
    "options ndots:2 edns0\n",
  );
  expect(resolvConfOf({ nameservers: ["10.0.0.53"], searches: [] })).toBe("nameserver 10.0.0.53\n");
});
