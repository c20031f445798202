import { expect, test } from "bun:test";
import { jailerArguments, type JailerInput, WITH_API } from "./jailer-arguments.ts";

const input: JailerInput = {
  kernelName: "gw00abcd-0123456789abcd",
  execFile: "/usr/bin/firecracker",
  jail: "/run/godwit-1/machines/0123456789abcd/jail",
  user: 1_610_612_737,
  cgroupVersion: 2,
  cpus: 2,
  netns: null,
  firecracker: WITH_API,
};

test("jailerArguments() names the machine, its user, its jail and its cgroup, then Firecracker's own arguments", () => {
  expect(jailerArguments(input)).toEqual([
    ...["--id", "gw00abcd-0123456789abcd", "--exec-file", "/usr/bin/firecracker"],
    ...["--uid", "1610612737", "--gid", "1610612737"],
    ...["--chroot-base-dir", "/run/godwit-1/machines/0123456789abcd/jail"],
    ...["--cgroup-version", "2", "--parent-cgroup", "gw00abcd-0123456789abcd"],
    ...["--cgroup", "cpu.max=200000 100000", "--resource-limit", "no-file=2048"],
    ...["--", "--api-sock", "/api.sock"],
  ]);
});

test("jailerArguments() speaks cgroup version 1 on a host that has it", () => {
  const argv = jailerArguments({ ...input, cgroupVersion: 1 });
  expect(argv.filter((_, at) => argv[at - 1] === "--cgroup")).toEqual([
    "cpu.cfs_period_us=100000",
    "cpu.cfs_quota_us=200000",
  ]);
});

test("jailerArguments() joins a network namespace where there is one", () => {
  expect(jailerArguments({ ...input, netns: "/run/netns/x" }).join(" ")).toContain("--netns /run/netns/x --");
});
