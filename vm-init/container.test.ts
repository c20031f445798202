/** vm-init as PID 1 of real containers: what an app and a worker see of it. */
import { afterEach, expect, test } from "bun:test";
import type { GuestExit, GuestListeners, GuestLogLine, GuestStatus } from "../control/contract/guest-api.ts";
import type { RunConfig } from "../control/contract/run-config.ts";
import { runConfig } from "./config.fixture.ts";
import { makeImage } from "./image.fixture.ts";
import { type ContainerOptions, startContainer, type TestContainer } from "./runc.fixture.ts";

const APPLETS = ["sh", "id", "cat", "sleep", "dd", "nc", "pwd", "kill", "true", "printf", "ps", "stat"];
const FILES = {
  "etc/passwd": "root:x:0:0::/root:/bin/sh\nweb:x:1000:1001::/home/web:/bin/sh\n",
  "etc/group": "web:x:1001:\nextra:x:77:web\n",
  "not-executable": "text",
};
const BOOT_WAIT_MS = 60_000;

const containers: TestContainer[] = [];
afterEach(async () => {
  for (const container of containers.splice(0)) await container.stop();
});

async function start(
  image: Partial<RunConfig["image"]>,
  rest: Partial<RunConfig> = {},
  options: ContainerOptions = {},
): Promise<TestContainer> {
  const config = runConfig("container", image, rest);
  const container = await startContainer(config, (folder) => makeImage(folder, FILES, APPLETS), options);
  containers.push(container);
  return container;
}

const shell = (script: string) => ({ cmd: ["/bin/sh", "-c", script] });
const statusOf = ({ session }: TestContainer) => session.get<GuestStatus>("/v1/status?wait_ms=10000");
const exitOf = ({ session }: TestContainer) => session.get<GuestExit>("/v1/exit");

async function linesOf({ session }: TestContainer): Promise<GuestLogLine[]> {
  const { text } = await session.request("GET", "/v1/logs?from=0");
  return text.trim().split("\n").map((line) => JSON.parse(line) as GuestLogLine);
}

const linesFrom = (lines: GuestLogLine[], stream: string) =>
  lines.filter((line) => line.stream === stream).map(({ line }) => line);

test("vm-init tells a status of the app, its output, and ends when the worker has the exit", async () => {
  const container = await start(shell("echo out; echo err >&2; exit 3"));
  expect(await exitOf(container)).toMatchObject({ exit_code: 3, signal: null, oom_killed: false });
  const lines = await linesOf(container);
  expect(linesFrom(lines, "stdout")).toEqual(["out"]);
  expect(linesFrom(lines, "stderr")).toEqual(["err"]);
  expect(linesFrom(lines, "system")).toEqual(["process ended with status 3"]);
  const status = await statusOf(container);
  expect(status.phase).toBe("exited");
  expect(status.steps.map(({ step }) => step)).toEqual([
    "run-config",
    "mounts",
    "overlay-root",
    "switch-root",
    "swap",
    "volumes",
    "files",
    "network",
    "hostname",
    "user",
    "limits",
    "control-api",
    "spawn",
    "supervise",
  ]);
  expect((await container.session.request("POST", "/v1/exit-ack")).status).toBe(204);
  expect(await container.exited).toBe(0);
}, BOOT_WAIT_MS);

test("vm-init gives the app its user with groups, environment, working folder and limits", async () => {
  const script = "id; pwd; echo $HOME $PATH $A $B; ulimit -n; echo by path > /dev/stdout; cat /proc/1/comm";
  const container = await start(
    { ...shell(script), user: "web", working_dir: "/made/here", env: ["A=image", "B=image"] },
    { env: { B: "machine" } },
  );
  await exitOf(container);
  expect(linesFrom(await linesOf(container), "stdout")).toEqual([
    "uid=1000(web) gid=1001(web) groups=77(extra),1001(web)",
    "/made/here",
    "/home/web /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin image machine",
    "10240",
    "by path",
    "vm-init",
  ]);
}, BOOT_WAIT_MS);

test("vm-init takes the right to administer the network from the app, root's too", async () => {
  const container = await start(shell("cat /proc/self/status"));
  await exitOf(container);
  const bounding = linesFrom(await linesOf(container), "stdout").find((line) => line.startsWith("CapBnd:"));
  const netAdmin = 1n << 12n;
  expect(BigInt(`0x${bounding?.split(/\s+/)[1]}`) & netAdmin).toBe(0n);
}, BOOT_WAIT_MS);

test("vm-init forwards a signal to the app and reports its number above 128", async () => {
  const container = await start({ cmd: ["sleep", "1000"] });
  expect((await statusOf(container)).phase).toBe("running");
  expect((await container.session.request("POST", "/v1/signals", { signal: "SIGHUP" })).status).toBe(204);
  expect(await exitOf(container)).toMatchObject({ exit_code: 129, signal: "SIGHUP" });
}, BOOT_WAIT_MS);

test("vm-init refuses a signal that does not exist, and a body that is not JSON", async () => {
  const container = await start({ cmd: ["sleep", "1000"] });
  await statusOf(container);
  expect((await container.session.request("POST", "/v1/signals", { signal: "SIGNONE" })).status).toBe(400);
  expect((await container.session.request("POST", "/v1/stop", "x")).status).toBe(400);
  expect((await container.session.request("GET", "/v1/nothing")).status).toBe(404);
}, BOOT_WAIT_MS);

test("vm-init kills an app that ignores its stop signal when the patience ends", async () => {
  const container = await start(shell("trap '' TERM; echo ready; while true; do sleep 1; done"));
  expect(await container.session.firstLogLine()).toBe("ready");
  expect((await container.session.request("POST", "/v1/stop", { signal: "SIGTERM", timeout_s: 1 })).status)
    .toBe(202);
  expect(await exitOf(container)).toMatchObject({ exit_code: 137, signal: "SIGKILL", oom_killed: false });
}, BOOT_WAIT_MS);

test("vm-init stops the app as configured when it is itself asked to end", async () => {
  const container = await start(
    shell("trap 'echo bye; exit 7' INT; echo ready; while true; do sleep 0.1; done"),
    {
      stop: { signal: "SIGINT", timeout_s: 5 },
    },
  );
  expect(await container.session.firstLogLine()).toBe("ready");
  container.signal("TERM");
  expect(await exitOf(container)).toMatchObject({ exit_code: 7, signal: null });
}, BOOT_WAIT_MS);

test("vm-init tells an OOM kill from any other SIGKILL", async (): Promise<void> => {
  const container = await start({ cmd: ["dd", "if=/dev/zero", "of=/dev/null", "bs=300M", "count=1"] }, {}, {
    memoryBytes: 96 * 1_024 * 1_024,
  });
  expect(await exitOf(container)).toMatchObject({ exit_code: 137, signal: "SIGKILL", oom_killed: true });
  expect(linesFrom(await linesOf(container), "system")).toEqual([
    "process was killed for memory (status 137)",
  ]);
}, BOOT_WAIT_MS);

test("vm-init reaps orphans and ends what the app leaves behind", async () => {
  const orphans = "for i in 1 2 3 4 5; do (true & exec sleep 0.05) & done; sleep 1000 & ";
  const container = await start(shell(`${orphans} sleep 0.5; ps -o stat,args; exit 5`));
  expect(await exitOf(container)).toMatchObject({ exit_code: 5 });
  const processes = linesFrom(await linesOf(container), "stdout");
  expect(processes.length).toBeGreaterThan(1);
  expect(processes.filter((line) => line.startsWith("Z"))).toEqual([]);
}, BOOT_WAIT_MS);

test("vm-init names the sockets that listen, and whose they are", async () => {
  const container = await start(shell("echo ready; exec nc -l -p 8080"));
  await statusOf(container);
  let found: GuestListeners["listeners"] = [];
  while (found.length === 0) {
    found = (await container.session.get<GuestListeners>("/v1/listeners")).listeners;
  }
  expect(found).toMatchObject([{
    address: expect.stringMatching(/^(::|0.0.0.0)$/),
    port: 8080,
    command: "nc -l -p 8080",
  }]);
}, BOOT_WAIT_MS);

test("vm-init serves a second worker after the first one went away", async () => {
  const container = await start({ cmd: ["sleep", "1000"] });
  await statusOf(container);
  container.session.close();
  const second = await container.connect();
  expect((await second.get<GuestStatus>("/v1/status")).phase).toBe("running");
  second.close();
}, BOOT_WAIT_MS);

test.each([
  ["missing", [], "spawn", 'Cannot run "missing": executable not found in PATH'],
  [
    "/not-executable",
    [],
    "spawn",
    'Cannot run "/not-executable": permission denied: /not-executable has mode 0644',
  ],
])(
  "vm-init reports the failed step for command %s, then ends with status 1",
  async (command, _, step, message) => {
    const container = await start({ cmd: [command] });
    const status = await statusOf(container);
    expect(status.phase).toBe("failed");
    expect(status.failure).toMatchObject({ step, message: expect.stringContaining(message) });
    expect(await container.exited).toBe(1);
    expect(container.console()).toContain(`godwit-boot-failure: ${step}: ${message}`);
  },
  BOOT_WAIT_MS,
);

test("vm-init runs several processes with their own users, and ends them all when one ends", async () => {
  const process = (script: string, user: string | null = null) => ({
    exec: ["/bin/sh", "-c", script],
    entrypoint: null,
    command: null,
    env: { WHO: script.slice(0, 4) },
    user,
  });
  const container = await start({}, {
    env: { SHARED: "yes" },
    processes: [
      process("trap 'echo first stops; exit 0' TERM; while true; do sleep 0.1; done"),
      process("id; echo $WHO $SHARED; sleep 0.5; exit 4", "web"),
    ],
  });
  expect(await exitOf(container)).toMatchObject({ exit_code: 4, signal: null });
  const lines = await linesOf(container);
  expect(linesFrom(lines, "stdout")).toEqual([
    "uid=1000(web) gid=1001(web) groups=77(extra),1001(web)",
    "id; yes",
    "first stops",
  ]);
  expect(linesFrom(lines, "system")).toEqual([
    "/bin/sh: process ended with status 4; stopping the other processes",
    "process ended with status 4",
  ]);
}, BOOT_WAIT_MS);

test(
  "vm-init writes files before the app runs, with their modes, over a link that is in their way",
  async () => {
    const base64 = (text: string) => Buffer.from(text).toString("base64");
    const container = await start(
      shell("stat -c '%a %u %n' /made/by/a /bin/ps; cat /made/by/a /bin/ps"),
      {
        files: [
          { path: "/made/by/a", base64: base64("secret\n"), mode: 0o640 },
          { path: "/bin/ps", base64: base64("own\n"), mode: 0o777 },
        ],
      },
    );
    await exitOf(container);
    expect(linesFrom(await linesOf(container), "stdout")).toEqual([
      "640 0 /made/by/a",
      "777 0 /bin/ps",
      "secret",
      "own",
    ]);
  },
  BOOT_WAIT_MS,
);

test("vm-init names the file that it cannot write, and why", async () => {
  const container = await start(shell("true"), {
    files: [{ path: "/proc/sys/kernel/core_pattern", base64: "", mode: 0o644 }],
  });
  expect((await statusOf(container)).failure).toEqual({
    step: "files",
    message:
      "Cannot write the file /proc/sys/kernel/core_pattern: /proc/sys/kernel/core_pattern leads to /proc/sys/kernel/core_pattern, which is not the image's",
  });
}, BOOT_WAIT_MS);

test("vm-init sets sysctls and limits of processes, and names the sysctl that the kernel lacks", async () => {
  const container = await start(shell("ulimit -S -c; ulimit -H -c; cat /proc/sys/net/ipv4/ip_default_ttl"), {
    sysctls: { "net.ipv4.ip_default_ttl": "77" },
    limits: { nofile: 10_240, rlimits: [{ name: "core", soft: 512, hard: 1_024 }] },
  });
  await exitOf(container);
  // ash counts in blocks of 512 bytes.
  expect(linesFrom(await linesOf(container), "stdout")).toEqual(["1", "2", "77"]);
  const failing = await start(shell("true"), { sysctls: { "net.ipv4.nothing": "1" } });
  expect((await statusOf(failing)).failure).toMatchObject({
    step: "limits",
    message: expect.stringMatching(/^Cannot set the sysctl net\.ipv4\.nothing to 1: ENOENT/),
  });
}, BOOT_WAIT_MS);

test("vm-init runs the app again in the same container where its worker wants it", async () => {
  const container = await start(shell("echo run >> /runs; cat /runs; exit 3"));
  const { session } = container;
  expect(await exitOf(container)).toMatchObject({ exit_code: 3, run: 0 });
  expect(linesFrom(await linesOf(container), "stdout")).toEqual(["run"]);
  const restart = { run: 0, after_ms: 20 };
  expect((await session.request("POST", "/v1/restart", restart)).status).toBe(202);
  expect((await session.request("POST", "/v1/restart", restart)).status).toBe(202);
  const lines = await linesOf(container);
  expect(linesFrom(lines, "stdout")).toEqual(["run", "run", "run"]);
  expect(linesFrom(lines, "system")).toEqual([
    "process ended with status 3",
    "restart 1 in 0.0 s",
    "process ended with status 3",
  ]);
  expect(await session.get<GuestExit>("/v1/exit?run=1")).toMatchObject({ exit_code: 3, run: 1 });
  expect((await statusOf(container)).run).toBe(1);
  await session.request("POST", "/v1/exit-ack");
  expect(await container.exited).toBe(0);
}, BOOT_WAIT_MS);

test("vm-init ends a run that waits for its restart when it is stopped", async () => {
  const container = await start(shell("exit 3"));
  const { session } = container;
  await exitOf(container);
  expect((await session.request("POST", "/v1/restart", { run: 0, after_ms: 60_000 })).status).toBe(202);
  expect((await statusOf(container)).phase).toBe("restarting");
  await session.request("POST", "/v1/stop", { signal: "SIGTERM", timeout_s: 1 });
  expect(await session.get<GuestExit>("/v1/exit?run=1")).toMatchObject({ exit_code: 3, run: 1 });
  await session.request("POST", "/v1/exit-ack");
  expect(await container.exited).toBe(0);
}, BOOT_WAIT_MS);

test("vm-init tells the app of a resume by a signal, or by a program of the app's user", async () => {
  const body = { host_clock_ms: Date.now(), entropy: "AAAA" };
  const signalled = await start(
    shell("trap 'echo resumed; exit 0' USR1; echo ready; while true; do sleep 0.1; done"),
    {
      resume_hook: { signal: "SIGUSR1" },
    },
  );
  expect(await signalled.session.firstLogLine()).toBe("ready");
  const answer = await signalled.session.request("POST", "/v1/resumed", body);
  expect([answer.status, answer.text]).toEqual([200, '{"clock_step_ms":0}']);
  await exitOf(signalled);
  expect(linesFrom(await linesOf(signalled), "stdout")).toEqual(["ready", "resumed"]);

  const program = ["/bin/sh", "-c", "id -u; kill -TERM $(cat /tmp/pid)"];
  const run = await start({
    ...shell("echo $$ > /tmp/pid; echo ready; while true; do sleep 0.1; done"),
    user: "web",
  }, { resume_hook: { exec: program }, files: [{ path: "/tmp/pid", base64: "", mode: 0o666 }] });
  expect(await run.session.firstLogLine()).toBe("ready");
  expect((await run.session.request("POST", "/v1/resumed", body)).status).toBe(200);
  expect(await exitOf(run)).toMatchObject({ signal: "SIGTERM" });
  expect(linesFrom(await linesOf(run), "stdout")).toEqual(["ready", "1000"]);
  expect((await run.session.request("POST", "/v1/resumed", { ...body, entropy: 5 })).status).toBe(400);
}, BOOT_WAIT_MS);

test("vm-init answers while the app has filled its processes, and stops it then", async () => {
  // The first shell goes on when no more can be forked: the loop is another's.
  const script = "(while sleep 1000 & do :; done) 2>/dev/null; echo full; while true; do :; done";
  const full = await start({ ...shell(script), user: "web" }, {
    limits: { nofile: 1_024, rlimits: [{ name: "nproc", soft: 60, hard: 60 }] },
  });
  expect(await full.session.firstLogLine()).toBe("full");
  for (let asked = 0; asked < 20; asked++) expect((await statusOf(full)).phase).toBe("running");
  await full.session.request("POST", "/v1/stop", { signal: "SIGTERM", timeout_s: 5 });
  expect(await exitOf(full)).toMatchObject({ exit_code: 143, signal: "SIGTERM" });
}, BOOT_WAIT_MS);

test("vm-init reports a user that the image does not have", async () => {
  const container = await start({ cmd: ["true"], user: "nobody-here" });
  expect((await statusOf(container)).failure).toEqual({
    step: "user",
    message: 'Cannot run as user "nobody-here": /etc/passwd of the image has no such name (2 entries)',
  });
}, BOOT_WAIT_MS);
