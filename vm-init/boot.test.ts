/** vm-init as PID 1 of real VMs under TCG: a few boots, each a story of its own. */
import { afterEach, expect, test } from "bun:test";
import { encodeFrame, EXEC_PIECE_BYTES, FrameKind } from "../control/contract/exec-frames.ts";
import {
  type GuestExit,
  type GuestLogLine,
  type GuestMetrics,
  type GuestProcesses,
  type GuestStatus,
  ResumedAnswer,
} from "../control/contract/guest-api.ts";
import type { RunConfig } from "../control/contract/run-config.ts";
import { runConfig } from "./config.fixture.ts";
import { TestExec } from "./exec.fixture.ts";
import { makeImage, run } from "./image.fixture.ts";
import { bootVm, type Machine, type TestVm } from "./qemu.fixture.ts";

const APPLETS = [
  ...["sh", "id", "cat", "sleep", "ip", "hostname", "mount", "ping", "awk", "dd", "df", "stat"],
  ...["stty", "touch", "true", "setsid", "rm", "tail", "grep", "ls"],
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
const BOOT_WAIT_MS = 600_000;

const MIB = 1_048_576;
/** What a machine of 256 MB gives its app: all but what the kernel and vm-init need. */
const APP_BYTES_MIN = 146 * MIB;

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
  "vm-init boots a microvm, has a terminal, freezes, resumes, outlives full disk and memory, and runs the app again",
  async () => {
    const script = "trap 'exec tail /dev/zero' USR1; trap 'exit 0' TERM; " +
      "trap 'dd if=/dev/zero of=/dev/shm/fill bs=1M' USR2; " +
      "echo ready; while true; do sleep 0.1; done";
    const vm = await boot(
      "microvm",
      runConfig("vm", { cmd: ["/bin/sh", "-c", script] }, { network: NETWORK, shm_mb: 512 }),
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
    expect(await second.firstLogLine()).toBe("ready");
    await hasTerminal(second);
    await freezes(second);
    await takesFiles(second);
    await keepsCommandsApart(second);
    const fill = new TestExec(second, { shell: "dd if=/dev/zero of=/fill bs=1M" });
    expect(await fill.exit).toMatchObject({ exit_code: 1 });
    expect(fill.stderr).toContain("No space left on device");

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
      "0::/user/app",
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

test("vm-init answers while the app has filled open files and processes, and tells its end", async () => {
  // First all processes, then 2^12 names of one file, which awk opens one by one until the kernel has no more.
  const files = 'BEGIN { while ((getline go < "/dev/shm/go") < 0) { } ' +
    'for (i = 0; i < 4096; i++) { name = "/etc"; ' +
    'for (bit = 1; bit < 4096; bit *= 2) name = name (int(i / bit) % 2 ? "/." : "/"); ' +
    'if ((getline line < (name "/group")) < 0) break } ' +
    'print "processes full, files " (i > 500 && i < 4096); fflush(); while ((getline line < "-") > 0) { } }';
  const script = `sleep 1000 | awk '${files}' & (while sleep 1000 & do :; done) 2>/dev/null; ` +
    "trap 'exit 7' TERM; echo >/dev/shm/go; while true; do wait; done";
  const config = runConfig("vm", { cmd: ["/bin/sh", "-c", script], user: "web" }, {
    limits: { nofile: 60_000 },
    sysctls: { "kernel.threads-max": "300", "fs.file-max": "1500" },
  });
  const vm = await boot("microvm", config);
  expect((await statusOf(vm)).phase).toBe("running");
  const lines = vm.session.firstLogLine();
  let line: string | null = null;
  void lines.then((first) => line = first);
  do expect((await vm.session.get<GuestStatus>("/v1/status")).failure).toBeNull(); while (line === null);
  expect(await lines).toBe("processes full, files 1");
  expect((await vm.session.request("GET", "/v1/listeners")).status).toBe(200);
  const stop = { signal: "SIGTERM", timeout_s: 60 };
  expect((await vm.session.request("POST", "/v1/stop", stop)).status).toBe(202);
  expect(await vm.session.get<GuestExit>("/v1/exit")).toMatchObject({ exit_code: 7, signal: null });
  await vm.session.request("POST", "/v1/exit-ack");
  expect(await vm.exited).toBe(0);
}, BOOT_WAIT_MS);

test.each<[string, RunConfig, string, string]>([
  [
    "a missing command",
    runConfig("vm", { cmd: ["missing"] }),
    "spawn",
    'Cannot run "missing": executable not found in PATH',
  ],
  [
    "more swap than the layer holds",
    runConfig("vm", { cmd: ["true"] }, { swap_mb: 100 }),
    "swap",
    "Cannot add 100 MB of swap on the machine's layer: posix_fallocate of 104857600 bytes: no space left on device",
  ],
  [
    "a sysctl that its kernel lacks",
    runConfig("vm", { cmd: ["true"] }, { sysctls: { "net.ipv4.nothing": "1" } }),
    "limits",
    "Cannot set the sysctl net.ipv4.nothing to 1: ENOENT",
  ],
  [
    "a volume without a drive",
    runConfig("vm", { cmd: ["true"] }, {
      volumes: [{ path: "/data", read_only: false }, { path: "/more", read_only: true }],
    }),
    "volumes",
    "Cannot mount the volume /dev/vdf at /more: mount ext4 /dev/vdf on /more: no such file or directory",
  ],
])("vm-init reports %s on console and control channel, then powers off", async (_, config, step, message) => {
  const vm = await boot("microvm", config);
  const status = await statusOf(vm);
  expect(status.failure).toMatchObject({ step, message: expect.stringContaining(message) });
  expect(await vm.exited).toBe(0);
  expect(vm.console()).toContain(`godwit-boot-failure: ${step}: ${message}`);
}, BOOT_WAIT_MS);

/** A session on a terminal over the virtio-serial port, in a cgroup of its own. */
async function hasTerminal(session: TestVm["session"]): Promise<void> {
  const shell = new TestExec(session, { argv: ["sh"], stdin: true, terminal: { columns: 90, rows: 30 } });
  shell.send(FrameKind.stdin, "stty size; cat /proc/self/cgroup\n");
  await shell.says("30 90");
  await shell.says("0::/user/exec/");
  shell.send(FrameKind.resize, JSON.stringify({ columns: 120, rows: 40 }));
  shell.send(FrameKind.stdin, "stty size\n");
  await shell.says("40 120");
  // A process that says so itself is in the foreground by then: before, the shell would take its Ctrl-C.
  shell.send(FrameKind.stdin, "sh -c \"echo wait''ing; exec sleep 1000\"\n");
  await shell.says("waiting\r\n");
  shell.send(FrameKind.stdin, "\x03");
  shell.send(FrameKind.stdin, "exit 5\n");
  expect(await shell.exit).toMatchObject({ exit_code: 5 });
  const status = await session.get<GuestStatus>("/v1/status");
  expect(status.init_rss_anon_kb).toBeLessThan(16 * 1_024);
}

/** What begins a conversation on the port begins none in the middle of a file; vm-init stays small all the while. */
async function takesFiles(session: TestVm["session"]): Promise<void> {
  const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  const stream = session.open("PUT", "/v1/files?path=/dev/shm/prefaces");
  let status = 0;
  stream.on("response", (headers) => status = Number(headers[":status"]));
  stream.resume();
  for (let sent = 0; sent < 8; sent++) {
    stream.write(encodeFrame(FrameKind.stdin, preface.repeat(EXEC_PIECE_BYTES / preface.length)));
    const { init_rss_anon_kb } = await session.get<GuestStatus>("/v1/status");
    expect(init_rss_anon_kb).toBeLessThan(16 * 1_024);
  }
  stream.end(encodeFrame(FrameKind.stdinEnd));
  await new Promise((resolve) => stream.on("end", resolve));
  expect(status).toBe(200);
  const count = new TestExec(session, { shell: "grep -c PRI /dev/shm/prefaces; rm /dev/shm/prefaces" });
  await count.exit;
  expect(Number(count.stdout)).toBe(8 * Math.floor(EXEC_PIECE_BYTES / preface.length));
}

/** A command dies of its own hunger, is killed with what has left its session, and runs while the app is at its limit. */
async function keepsCommandsApart(session: TestVm["session"]): Promise<void> {
  const commandEats = async () => {
    const hungry = new TestExec(session, { argv: ["tail", "/dev/zero"], user: "root" });
    expect(await hungry.exit).toMatchObject({ exit_code: 137, signal: "SIGKILL", timed_out: false });
  };
  const oomKills = async () => (await session.get<GuestMetrics>("/v1/metrics")).oom_kills;
  await commandEats();
  expect(await oomKills()).toBe(0);

  const escaping = new TestExec(session, {
    shell: "setsid sh -c 'echo $$; exec sleep 1000' >/dev/shm/pid & wait; sleep 1000",
    timeout_ms: 3_000,
  });
  expect(await escaping.exit).toMatchObject({ signal: "SIGKILL", timed_out: true });
  const look = new TestExec(session, { shell: "cat /dev/shm/pid" });
  await look.exit;
  const escaped = Number(look.stdout);
  expect(escaped).toBeGreaterThan(1);
  for (let pids = [escaped]; pids.includes(escaped);) {
    pids = (await session.get<GuestProcesses>("/v1/ps")).processes.map(({ pid }) => pid);
  }

  expect((await session.request("POST", "/v1/signals", { signal: "SIGUSR2" })).status).toBe(204);
  while (await oomKills() === 0);
  const inside = new TestExec(session, {
    shell: "cd /sys/fs/cgroup/user/app; cat memory.max memory.current; ls ../exec",
  });
  expect(await inside.exit).toMatchObject({ exit_code: 0 });
  const [max = 0, current = 0] = inside.stdout.split("\n").map(Number);
  expect(max).toBeGreaterThan(APP_BYTES_MIN);
  expect(current).toBeGreaterThan(max - 8 * MIB);
  const killsBefore = await oomKills();
  await commandEats();
  expect(await oomKills()).toBe(killsBefore);
  expect((await session.get<GuestStatus>("/v1/status")).phase).toBe("running");
  expect(await new TestExec(session, { argv: ["rm", "/dev/shm/fill"] }).exit).toMatchObject({ exit_code: 0 });
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
