/** vm-init as PID 1 of real VMs under TCG: three boots, each a story of its own. */
import { afterEach, expect, test } from "bun:test";
import { FrameKind } from "../control/contract/exec-frames.ts";
import type { GuestExit, GuestLogLine, GuestStatus } from "../control/contract/guest-api.ts";
import type { RunConfig } from "../control/contract/run-config.ts";
import { runConfig } from "./config.fixture.ts";
import { TestExec } from "./exec.fixture.ts";
import { makeImage, run } from "./image.fixture.ts";
import { bootVm, type Machine, type TestVm } from "./qemu.fixture.ts";

const APPLETS = [
  ...["sh", "id", "cat", "sleep", "tail", "ip", "hostname", "mount", "ping", "awk", "stty", "touch", "true"],
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
  await hasTerminal(second);
  await freezes(second);
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

/** A session on a terminal over the virtio-serial port, in the app's cgroup. */
async function hasTerminal(session: TestVm["session"]): Promise<void> {
  const shell = new TestExec(session, { argv: ["sh"], stdin: true, terminal: { columns: 90, rows: 30 } });
  shell.send(FrameKind.stdin, "stty size; cat /proc/self/cgroup\n");
  await shell.says("30 90");
  await shell.says("0::/app");
  shell.send(FrameKind.resize, JSON.stringify({ columns: 120, rows: 40 }));
  shell.send(FrameKind.stdin, "stty size\n");
  await shell.says("40 120");
  shell.send(FrameKind.stdin, "echo wait''ing; sleep 1000\n");
  await shell.says("waiting\r\n");
  shell.send(FrameKind.stdin, "\x03");
  shell.send(FrameKind.stdin, "exit 5\n");
  expect(await shell.exit).toMatchObject({ exit_code: 5 });
  const status = await session.get<GuestStatus>("/v1/status");
  expect(status.init_rss_anon_kb).toBeLessThan(16 * 1_024);
}

/** A write waits while the disks are frozen, and goes on when they are thawed, by hand or by time. */
async function freezes(session: TestVm["session"]): Promise<void> {
  for (const thaw of ["by hand", "by time"]) {
    const timeout_s = thaw === "by hand" ? 60 : 3;
    const { text } = await session.request("POST", "/v1/freeze", { timeout_s });
    expect(JSON.parse(text)).toEqual({ frozen: 1 });
    const writer = new TestExec(session, { shell: "touch /frozen && echo written" });
    const reader = new TestExec(session, { shell: "echo read" });
    expect(await reader.exit).toMatchObject({ exit_code: 0 });
    expect(writer.stdout).toBe("");
    if (thaw === "by hand") expect(await thawed(session)).toEqual({ thawed: 1, too_late: false });
    expect(await writer.exit).toMatchObject({ exit_code: 0 });
    expect(writer.stdout).toBe("written\n");
    if (thaw === "by time") expect(await thawed(session)).toEqual({ thawed: 0, too_late: true });
  }
}

async function thawed(session: TestVm["session"]): Promise<unknown> {
  return JSON.parse((await session.request("POST", "/v1/thaw")).text);
}
