/** vm-init as PID 1 of real containers: what an app and a worker see of it. */
import { afterEach, expect, test } from "bun:test";
import type { GuestExit, GuestListeners, GuestLogLine, GuestStatus } from "../control/contract/guest-api.ts";
import type { RunConfig } from "../control/contract/run-config.ts";
import { runConfig } from "./config.fixture.ts";
import { makeImage } from "./image.fixture.ts";
import { type ContainerOptions, startContainer, type TestContainer } from "./runc.fixture.ts";

const APPLETS = ["sh", "id", "cat", "sleep", "dd", "nc", "pwd", "kill", "true", "printf", "ps"];
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

test("vm-init reports a user that the image does not have", async () => {
  const container = await start({ cmd: ["true"], user: "nobody-here" });
  expect((await statusOf(container)).failure).toEqual({
    step: "user",
    message: 'Cannot run as user "nobody-here": /etc/passwd of the image has no such name (2 entries)',
  });
}, BOOT_WAIT_MS);
