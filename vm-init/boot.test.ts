/** vm-init as PID 1 of real VMs under TCG: three boots, each a story of its own. */
import { afterEach, expect, test } from "bun:test";
import type { GuestExit, GuestLogLine, GuestStatus } from "../control/contract/guest-api.ts";
import type { RunConfig } from "../control/contract/run-config.ts";
import { runConfig } from "./config.fixture.ts";
import { makeImage, run } from "./image.fixture.ts";
import { bootVm, type Machine, type TestVm } from "./qemu.fixture.ts";

const APPLETS = ["sh", "id", "cat", "sleep", "tail", "ip", "hostname", "mount", "ping", "awk"];
const FILES = {
  "etc/passwd": "root:x:0:0::/root:/bin/sh\nweb:x:1000:1001::/home/web:/bin/sh\n",
  "etc/group": "web:x:1001:\nextra:x:77:web\n",
};
const NETWORK: RunConfig["network"] = {
  interface: "eth0",
  mtu: 1_420,
  address4: "10.0.2.15/31",
  gateway4: "10.0.2.2",
  address6: "fd00::15/64",
  gateway6: "fe80::2",
  nameservers: ["10.0.2.3"],
  searches: ["internal"],
};
/** A guest under TCG on a machine with ten times the work it can do. */
const BOOT_WAIT_MS = 300_000;

const vms: TestVm[] = [];
afterEach(async () => {
  for (const vm of vms.splice(0)) await vm.stop();
});

async function boot(machine: Machine, config: RunConfig): Promise<TestVm> {
  const vm = await bootVm(machine, config, (folder) => makeImage(folder, FILES, APPLETS));
  vms.push(vm);
  return vm;
}

/** Once the boot has come to an end, well or ill. */
async function statusOf({ session }: TestVm): Promise<GuestStatus> {
  for (;;) {
    const status = await session.get<GuestStatus>("/v1/status?wait_ms=60000");
    if (status.phase !== "booting") return status;
  }
}

async function linesOf(session: TestVm["session"], stream: string): Promise<string[]> {
  const { text } = await session.request("GET", "/v1/logs?from=0");
  const lines = text.trim().split("\n").map((line) => JSON.parse(line) as GuestLogLine);
  return lines.filter((line) => line.stream === stream).map(({ line }) => line);
}

test("vm-init boots a microvm, serves a second worker, and tells an OOM kill", async () => {
  const script = "trap 'exec tail /dev/zero' USR1; echo ready; while true; do sleep 0.1; done";
  const vm = await boot("microvm", runConfig("vm", { cmd: ["/bin/sh", "-c", script] }, { network: NETWORK }));
  const status = await statusOf(vm);
  expect(status).toMatchObject({ phase: "running", failure: null, exit: null });
  expect(status.steps.filter(({ skipped }) => skipped !== null).map(({ step }) => step)).toEqual([
    "volumes",
    "files",
  ]);
  expect(status.init_rss_anon_kb).toBeLessThan(16 * 1_024);
  vm.session.close();
  const second = await vm.connect();
  expect(await second.firstLogLine()).toBe("ready");
  expect((await second.request("POST", "/v1/signals", { signal: "SIGUSR1" })).status).toBe(204);
  const exit = await second.get<GuestExit>("/v1/exit");
  expect(await linesOf(second, "stderr")).toEqual([]);
  expect(exit).toMatchObject({
    exit_code: 137,
    signal: "SIGKILL",
    oom_killed: true,
  });
  expect((await second.request("POST", "/v1/exit-ack")).status).toBe(204);
  second.close();
  expect(await vm.exited).toBe(0);
  expect(vm.console()).not.toContain("writable");
  expect(run(["dumpe2fs", "-h", vm.layerFile])).not.toContain("needs_recovery");
}, BOOT_WAIT_MS);

test("vm-init boots a q35 and gives the app its user, network and root", async () => {
  const script = [
    "id",
    "hostname",
    "cat /proc/1/comm /etc/resolv.conf",
    "ip -o -4 addr show eth0 | awk '{print $4}'",
    "ip -o -6 addr show eth0 scope global | awk '{print $4}'",
    "cat /sys/class/net/eth0/mtu",
    "ip route | awk '$1 == \"default\" {print $3, $NF}'",
    "ip -6 route show default | awk '{print $3}'",
    "mount | awk '$3 == \"/\" {print $5}'",
    "cat /proc/self/cgroup",
    "exit 3",
  ].join("; ");
  const config = runConfig("vm", { cmd: ["/bin/sh", "-c", script], user: "web", working_dir: "/made" }, {
    network: NETWORK,
  });
  const vm = await boot("q35", config);
  expect(await vm.session.get<GuestExit>("/v1/exit")).toMatchObject({ exit_code: 3, signal: null });
  expect(await linesOf(vm.session, "stderr")).toEqual([]);
  expect(await linesOf(vm.session, "stdout")).toEqual([
    "uid=1000(web) gid=1001(web) groups=77(extra),1001(web)",
    config.hostname,
    "vm-init",
    "nameserver 10.0.2.3",
    "search internal",
    "10.0.2.15/31",
    "fd00::15/64",
    "1420",
    "10.0.2.2 onlink",
    "fe80::2",
    "overlay",
    "0::/app",
  ]);
  await vm.session.request("POST", "/v1/exit-ack");
  expect(await vm.exited).toBe(0);
}, BOOT_WAIT_MS);

test("vm-init reports a boot that fails on console and control channel, then powers off", async () => {
  const vm = await boot("microvm", runConfig("vm", { cmd: ["missing"] }));
  const message = 'Cannot run "missing": executable not found in PATH';
  const status = await statusOf(vm);
  expect(status.failure).toMatchObject({ step: "spawn", message: expect.stringContaining(message) });
  expect(await vm.exited).toBe(0);
  expect(vm.console()).toContain(`godwit-boot-failure: spawn: ${message}`);
}, BOOT_WAIT_MS);
