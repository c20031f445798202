/** vm-init as PID 1 of real VMs under TCG: three boots, each a story of its own. */
import { afterEach, expect, test } from "bun:test";
import {
  type GuestExit,
  type GuestLogLine,
  type GuestStatus,
  ResumedAnswer,
} from "../control/contract/guest-api.ts";
import type { RunConfig } from "../control/contract/run-config.ts";
import { runConfig } from "./config.fixture.ts";
import { makeImage, run } from "./image.fixture.ts";
import { bootVm, type Machine, type TestVm } from "./qemu.fixture.ts";

const APPLETS = [
  "sh",
  "id",
  "cat",
  "sleep",
  "tail",
  "ip",
  "hostname",
  "mount",
  "ping",
  "awk",
  "dd",
  "df",
  "stat",
];
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

test(
  "vm-init boots a microvm, resumes, outlives a full disk and a full memory, and runs the app again",
  async () => {
    const script =
      "dd if=/dev/zero of=/fill bs=1M 2>/dev/null; trap 'exec tail /dev/zero' USR1; trap 'exit 0' TERM; " +
      "echo full; while true; do sleep 0.1; done";
    const vm = await boot(
      "microvm",
      runConfig("vm", { cmd: ["/bin/sh", "-c", script] }, { network: NETWORK }),
    );
    const status = await statusOf(vm);
    expect(status).toMatchObject({ phase: "running", failure: null, exit: null, run: 0 });
    expect(status.steps.filter(({ skipped }) => skipped !== null).map(({ step }) => step)).toEqual([
      "swap",
      "volumes",
      "files",
    ]);
    expect(status.init_rss_anon_kb).toBeLessThan(16 * 1_024);
    vm.session.close();
    const second = await vm.connect();
    expect(await second.firstLogLine()).toBe("full");

    const host_clock_ms = Date.now() + 86_400_000;
    const entropy = Buffer.from(crypto.getRandomValues(new Uint8Array(64))).toString("base64");
    const resumed = await second.request("POST", "/v1/resumed", { host_clock_ms, entropy });
    const { clock_step_ms } = ResumedAnswer.parse(JSON.parse(resumed.text));
    const after = await second.get<GuestStatus>("/v1/status");
    expect(Math.abs(clock_step_ms - 86_400_000)).toBeLessThan(60_000);
    expect(after.clock_ms).toBeWithin(host_clock_ms, host_clock_ms + 60_000);

    expect((await second.request("POST", "/v1/signals", { signal: "SIGUSR1" })).status).toBe(204);
    let told: GuestExit | null = null;
    const exited = second.get<GuestExit>("/v1/exit").then((exit) => told = exit);
    do expect((await second.request("GET", "/v1/status")).status).toBe(200); while (told === null);
    expect(await exited).toMatchObject({
      exit_code: 137,
      signal: "SIGKILL",
      oom_killed: true,
      oom_scope: "app",
      run: 0,
    });
    expect((await second.request("POST", "/v1/restart", { run: 0, after_ms: 0 })).status).toBe(202);
    // Its log ends with the run: the second one found the disk full, and is stopped.
    while ((await second.get<GuestStatus>("/v1/status")).phase !== "running") continue;
    expect((await second.request("POST", "/v1/stop", { signal: "SIGTERM", timeout_s: 30 })).status).toBe(202);
    expect(await second.get<GuestExit>("/v1/exit?run=1")).toMatchObject({ run: 1, oom_killed: false });
    expect((await second.request("POST", "/v1/exit-ack")).status).toBe(204);
    second.close();
    expect(await vm.exited).toBe(0);
    expect(vm.console()).not.toContain("left ");
    expect(run(["dumpe2fs", "-h", vm.layerFile])).not.toContain("needs_recovery");
  },
  BOOT_WAIT_MS,
);

test(
  "vm-init boots a q35 and gives the app its user, network, root, volume, swap and kernel filesystems",
  async () => {
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
      "awk '/SwapTotal/ {print ($2 > 16000 && $2 < 16384)}' /proc/meminfo",
      "df -k /dev/shm | awk 'NR == 2 {print $2}'",
      "mount | awk '$5 ~ /hugetlbfs|binfmt_misc|mqueue/ {print $3}'",
      "stat -c '%u:%g %n' /data; mount | awk '$3 == \"/data\" {print $1, $5}'; echo kept >/data/kept",
      "cat /proc/sys/kernel/core_pattern /proc/sys/vm/swappiness; ulimit -c",
      "exit 3",
    ].join("; ");
    const config = runConfig("vm", { cmd: ["/bin/sh", "-c", script], user: "web", working_dir: "/made" }, {
      network: NETWORK,
      swap_mb: 16,
      shm_mb: 8,
      volumes: [{ path: "/data", read_only: false }],
      sysctls: { "vm.swappiness": "7" },
      limits: { nofile: 10_240, rlimits: [{ name: "core", soft: "unlimited", hard: "unlimited" }] },
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
      "1",
      "8192",
      "/dev/mqueue",
      "/dev/hugepages",
      "/proc/sys/fs/binfmt_misc",
      "1000:1001 /data",
      "/dev/vde ext4",
      "core.%p",
      "7",
      "unlimited",
    ]);
    await vm.session.request("POST", "/v1/exit-ack");
    expect(await vm.exited).toBe(0);
    expect(vm.console()).not.toContain("left ");
    for (const file of [vm.layerFile, vm.volumeFile]) {
      expect(run(["dumpe2fs", "-h", file])).not.toContain("needs_recovery");
    }
    expect(run(["debugfs", "-R", "cat /kept", vm.volumeFile])).toBe("kept\n");
  },
  BOOT_WAIT_MS,
);

test("vm-init reports a boot that fails on console and control channel, then powers off", async () => {
  const vm = await boot("microvm", runConfig("vm", { cmd: ["missing"] }));
  const message = 'Cannot run "missing": executable not found in PATH';
  const status = await statusOf(vm);
  expect(status.failure).toMatchObject({ step: "spawn", message: expect.stringContaining(message) });
  expect(await vm.exited).toBe(0);
  expect(vm.console()).toContain(`godwit-boot-failure: spawn: ${message}`);
}, BOOT_WAIT_MS);
