import { expect, test } from "bun:test";
import { sysctlFile } from "./limits.ts";

test.each([
  ["net.core.somaxconn", "/proc/sys/net/core/somaxconn"],
  ["net.ipv4.conf.eth0/1.forwarding", "/proc/sys/net/ipv4/conf/eth0.1/forwarding"],
  ["net/ipv4/conf/eth0.1/forwarding", "/proc/sys/net/ipv4/conf/eth0.1/forwarding"],
])("sysctlFile() finds %s as sysctl(8) does", (name, file) => {
  expect(sysctlFile(name)).toBe(file);
});
