import { expect, test } from "bun:test";
import type { VmSpec } from "../driver.ts";
import { ociConfig } from "./oci-config.ts";
import { runcPaths } from "./runc-paths.ts";

const spec = {
  machineId: "0123456789abcd",
  folder: "/home/machines/0123456789abcd",
  runFolder: "/run/godwit-1/machines/0123456789abcd",
  prefix: "gw00abcd",
  guest: { cpu_kind: "shared", cpus: 2, memory_mb: 512 },
  runConfig: { hostname: "0123456789abcd", limits: { nofile: 4_096 } },
} as VmSpec;
// deno-lint-ignore no-explicit-any -- the shape is the specification's, not ours
const config = ociConfig(spec, "/home/images/init", runcPaths(spec)) as any;

test("ociConfig() limits memory without swap, and CPU to the guest's size", () => {
  expect(config.linux.resources.memory).toEqual({ limit: 536_870_912, swap: 536_870_912 });
  expect(config.linux.resources.cpu).toEqual({ period: 100_000, quota: 200_000 });
});

test("ociConfig() gives no capability over the host", () => {
  const { bounding, effective, permitted } = config.process.capabilities;
  expect(bounding).toContain("CAP_NET_ADMIN");
  for (
    const capability of ["CAP_SYS_ADMIN", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_PTRACE", "CAP_BPF"]
  ) {
    expect(bounding).not.toContain(capability);
  }
  expect(effective).toEqual(bounding);
  expect(permitted).toEqual(bounding);
});

test("ociConfig() shows the container vm-init and its run configuration read-only, its control folder writable", () => {
  const options = (destination: string) =>
    config.mounts.find((mount: { destination: string }) => mount.destination === destination).options;
  expect(options("/.godwit/init")).toContain("ro");
  expect(options("/.godwit/run.json")).toContain("ro");
  expect(options("/.godwit/control")).toContain("rw");
  expect(JSON.stringify(config.mounts)).not.toContain("/run/netns");
});

test("ociConfig() has a namespace of each kind and the stack's name on the cgroup", () => {
  expect(config.linux.namespaces.map((namespace: { type: string }) => namespace.type).sort())
    .toEqual(["ipc", "mount", "network", "pid", "uts"]);
  expect(config.linux.cgroupsPath).toBe("/gw00abcd-0123456789abcd");
});

test("ociConfig() passes on what a machine asks for of its kernel", () => {
  const runConfig = {
    ...spec.runConfig,
    shm_mb: 8,
    swap_mb: 256,
    sysctls: { "net.core.somaxconn": "1024" },
    limits: { nofile: 4_096, rlimits: [{ name: "core" as const, soft: 0, hard: "unlimited" as const }] },
  };
  // deno-lint-ignore no-explicit-any -- as above
  const asked = ociConfig({ ...spec, runConfig }, "/home/images/init", runcPaths(spec)) as any;
  expect(asked.linux.resources.memory.swap).toBe((512 + 256) * 1_048_576);
  expect(asked.linux.sysctl).toEqual({ "net.core.somaxconn": "1024" });
  expect(asked.mounts.find(({ source }: { source: string }) => source === "shm").options).toContain(
    "size=8192k",
  );
  expect(JSON.stringify(asked.process.rlimits)).toBe(
    '[{"type":"RLIMIT_NOFILE","soft":4096,"hard":4096},' +
      '{"type":"RLIMIT_CORE","soft":0,"hard":18446744073709551615}]',
  );
});
