/** Commands, files and figures over the control API of real containers. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { encodeFrame, FrameKind } from "../control/contract/exec-frames.ts";
import {
  FileEntry,
  GuestMetrics,
  GuestProcesses,
  GuestStatus,
  GuestSysinfo,
} from "../control/contract/guest-api.ts";
import { EXECS_MAX } from "../control/contract/guest-limits.ts";
import { runConfig } from "./config.fixture.ts";
import { TestExec } from "./exec.fixture.ts";
import { makeImage } from "./image.fixture.ts";
import { startContainer, type TestContainer } from "./runc.fixture.ts";

const APPLETS = [
  ...["sh", "id", "cat", "sleep", "dd", "pwd", "kill", "true", "echo", "yes", "stty", "tty", "nc", "head"],
  ...["mkfifo", "ps", "ls", "wc", "env", "ln"],
];
const FILES = {
  "etc/passwd": "root:x:0:0::/root:/bin/sh\nweb:x:1000:1001::/home/web:/bin/sh\n",
  "etc/group": "web:x:1001:\nextra:x:77:web\n",
  "etc/os-release": 'PRETTY_NAME="Small"\n',
  "data/a/b/deep": "deep",
  "data/file": "content",
};
const WAIT_MS = 30_000;
const ANON_KB_MAX = 16 * 1_024;
const EXIT = { signal: null, timed_out: false, stdout_lost_bytes: 0, stderr_lost_bytes: 0 };

let container: TestContainer;
beforeAll(async () => {
  const config = runConfig("container", {
    cmd: ["/bin/sh", "-c", "exec nc -l -p 8080"],
    user: "web",
    working_dir: "/made",
    env: ["A=image", "B=image"],
  }, { env: { B: "machine" } });
  container = await startContainer(config, (folder) => makeImage(folder, FILES, APPLETS));
  await container.session.get<GuestStatus>("/v1/status?wait_ms=10000");
}, WAIT_MS);
afterAll(() => container.stop());

const exec = (request: ConstructorParameters<typeof TestExec>[1]) => new TestExec(container.session, request);
const shell = (script: string) => exec({ shell: script });
/** What a path gives by `POST /v1/read` or `/v1/list`. */
async function ask(path: string, request: { path: string; depth?: number }) {
  const run = new TestExec(container.session, request, path);
  await run.exit;
  return { status: run.status, text: run.refusal === "" ? run.stdout : run.refusal };
}
const read = (path: string) => ask("/v1/read", { path });
const codeOf = (text: string) => (JSON.parse(text) as { error: { code: string } }).error.code;
/** Reads until no command runs any more. */
async function noneRuns(): Promise<void> {
  while ((await container.session.get<GuestMetrics>("/v1/metrics")).execs > 0);
}

test("exec runs a command as the app's user, in its folder, with its environment", async () => {
  const run = shell("id; pwd; echo $HOME $A $B $C; echo err >&2; echo by path > /dev/stdout; exit 7");
  expect(await run.exit).toEqual({ ...EXIT, exit_code: 7 });
  expect(run.stdout).toBe(
    "uid=1000(web) gid=1001(web) groups=77(extra),1001(web)\n/made\n/home/web image machine\nby path\n",
  );
  expect(run.stderr).toBe("err\n");
}, WAIT_MS);

test("exec takes another user, folder and more environment", async () => {
  const run = exec({
    argv: ["sh", "-c", "id -u; pwd; echo $HOME $C"],
    user: "root",
    cwd: "/data",
    env: { C: "c" },
  });
  expect(await run.exit).toMatchObject({ exit_code: 0 });
  expect(run.stdout).toBe("0\n/data\n/root c\n");
}, WAIT_MS);

test("exec passes stdin on to its end, and binary output unharmed", async () => {
  const run = exec({ argv: ["cat"], stdin: true });
  const text = "x".repeat(60_000) + "\n";
  await run.feed(text.repeat(20));
  run.send(FrameKind.stdinEnd);
  expect(await run.exit).toEqual({ ...EXIT, exit_code: 0 });
  expect(run.stdout).toBe(text.repeat(20));
}, WAIT_MS);

test("exec ends a command's stdin when the caller ends its side", async () => {
  const run = exec({ argv: ["wc", "-c"], stdin: true });
  run.send(FrameKind.stdin, "four");
  run.stream.end();
  expect(await run.exit).toMatchObject({ exit_code: 0 });
  expect(run.stdout.trim()).toBe("4");
}, WAIT_MS);

test("exec tells the signal that ended a command, and passes signals on", async () => {
  const killed = shell("kill -9 $$");
  expect(await killed.exit).toEqual({ ...EXIT, exit_code: 137, signal: "SIGKILL" });
  const asked = shell("trap 'exit 9' USR1; echo ready; while true; do sleep 0.05; done");
  await asked.says("ready");
  asked.send(FrameKind.signal, "SIGUSR1");
  expect(await asked.exit).toEqual({ ...EXIT, exit_code: 9 });
}, WAIT_MS);

test("exec kills a command, and what it started, when its time is over", async () => {
  const run = exec({ shell: "sleep 1000 & echo $!; sleep 1000", timeout_ms: 200 });
  expect(await run.exit).toEqual({ ...EXIT, exit_code: 137, signal: "SIGKILL", timed_out: true });
  const look = shell(`ls /proc/${run.stdout.trim()} 2>&1 | head -n 1`);
  await look.exit;
  expect(look.stdout).toContain("No such file");
}, WAIT_MS);

test("exec reads and counts what is above the bound of the output", async () => {
  const run = exec({
    shell: "dd if=/dev/zero bs=1000 count=50 2>/dev/null; echo 12345 >&2",
    output_bytes_max: 3,
  });
  expect(await run.exit).toEqual({
    ...EXIT,
    exit_code: 0,
    stdout_lost_bytes: 49_997,
    stderr_lost_bytes: 3,
  });
  expect([run.stdout.length, run.stderr]).toEqual([3, "123"]);
}, WAIT_MS);

test("exec does not wait for what a command left in the background with its outputs", async () => {
  const run = shell("sleep 1000 & echo $!");
  expect(await run.exit).toMatchObject({ exit_code: 0 });
  await shell(`kill ${run.stdout}`).exit;
}, WAIT_MS);

test("exec kills the command and its children when the caller goes away", async () => {
  const run = shell("sleep 1001 & trap '' HUP; echo $! $$; while true; do sleep 0.1; done");
  await run.says("\n");
  const [child, leader] = run.stdout.trim().split(" ");
  run.stream.close(8);
  await noneRuns();
  const look = shell(`ls -d /proc/${child} /proc/${leader} 2>/dev/null | wc -l`);
  await look.exit;
  expect(look.stdout.trim()).toBe("0");
}, WAIT_MS);

test("exec slows a command down to what is read, and holds no other call up", async () => {
  const run = shell("yes");
  await run.says("y");
  run.isHeld = true;
  await noProgress();
  const held = run.stdout.length;
  for (let n = 0; n < 20; n++) {
    const beside = shell("echo beside; head -c 100000 /dev/zero");
    expect(await beside.exit).toMatchObject({ exit_code: 0 });
    expect(beside.stdout.length).toBe(100_007);
  }
  expect(run.stdout.length).toBe(held);
  run.stream.close(8);
  await noneRuns();
  // What was carried is given back; the bound of the wait is the test's.
  while ((await anonKb()) > ANON_KB_MAX) await Bun.sleep(100);
}, WAIT_MS);

async function anonKb(): Promise<number> {
  return (await container.session.get<GuestStatus>("/v1/status")).init_rss_anon_kb;
}

/** Until the command that writes without end has stood still between two looks. */
async function noProgress(): Promise<void> {
  const written = async () => {
    const { processes } = await container.session.get<GuestProcesses>("/v1/ps");
    return processes.find(({ command }) => command.endsWith("yes"))?.cpu_ms ?? -1;
  };
  for (let before = -2, now = await written(); now !== before || now < 0;) {
    before = now;
    await Bun.sleep(50);
    now = await written();
  }
}

test("exec gives a terminal: its size, resizing, control characters, and one exit code", async () => {
  const run = exec({ argv: ["sh"], stdin: true, terminal: { columns: 90, rows: 30 }, env: { PS1: "$ " } });
  run.send(FrameKind.stdin, "stty size; tty\n");
  await run.says("30 90");
  await run.says("/dev/pts/");
  run.send(FrameKind.resize, JSON.stringify({ columns: 120, rows: 40 }));
  run.send(FrameKind.stdin, "stty size\n");
  await run.says("40 120");
  run.send(FrameKind.stdin, "echo wait''ing; sleep 1000\n");
  await run.says("waiting\r\n");
  run.send(FrameKind.stdin, "\x03");
  run.send(FrameKind.stdin, "echo status $?\n");
  await run.says("status 130");
  run.send(FrameKind.stdin, "exit 5\n");
  expect(await run.exit).toEqual({ ...EXIT, exit_code: 5 });
}, WAIT_MS);

test("exec ends a shell on a terminal when its input ends", async () => {
  const run = exec({ argv: ["cat"], stdin: true, terminal: { columns: 80, rows: 24 } });
  run.send(FrameKind.stdin, "line\n");
  await run.says("line\r\nline\r\n");
  run.send(FrameKind.stdinEnd);
  expect(await run.exit).toEqual({ ...EXIT, exit_code: 0 });
}, WAIT_MS);

test.each([
  [{ argv: ["nothing-here"] }, 400, "guest.exec_failed"],
  [{ argv: ["sh"], user: "nobody-here" }, 400, "guest.exec_failed"],
  [{ argv: ["sh"], cwd: "/etc/passwd" }, 400, "guest.exec_failed"],
])("exec refuses %j", async (request, status, code) => {
  const run = exec(request);
  await run.exit;
  expect([run.status, codeOf(run.refusal)]).toEqual([status, code]);
}, WAIT_MS);

test("exec has a bound on how many run at once", async () => {
  const runs = Array.from({ length: EXECS_MAX }, () => shell("echo up; exec sleep 1000"));
  for (const run of runs) await run.says("up");
  const refused = shell("true");
  await refused.exit;
  expect([refused.status, codeOf(refused.refusal)]).toEqual([429, "guest.too_many_execs"]);
  for (const run of runs) run.stream.close(8);
  await noneRuns();
  expect(await shell("true").exit).toMatchObject({ exit_code: 0 });
}, WAIT_MS);

test("exec loses no exit code of a hundred short commands and leaves no zombie", async () => {
  const codes: number[] = [];
  for (let round = 0; round < 10; round++) {
    const runs = Array.from({ length: 10 }, (_, n) => shell(`true & exit ${round * 10 + n}`));
    for (const run of runs) codes.push((await run.exit)?.exit_code ?? -1);
  }
  expect(codes).toEqual(Array.from({ length: 100 }, (_, n) => n));
  const { processes } = GuestProcesses.parse(await container.session.get("/v1/ps"));
  expect(processes.filter(({ state }) => state === "Z")).toEqual([]);
}, WAIT_MS);

test("ps has users, parents and listening sockets", async () => {
  let listener: GuestProcesses["processes"][number] | undefined;
  while (listener === undefined || listener.listen_sockets.length === 0) {
    const { processes } = GuestProcesses.parse(await container.session.get("/v1/ps"));
    expect(processes[0]).toMatchObject({ pid: 1, ppid: 0, user: "root" });
    listener = processes.find(({ command }) => command === "nc -l -p 8080");
  }
  expect(listener).toMatchObject({ user: "web", listen_sockets: [{ protocol: "tcp", port: 8080 }] });
}, WAIT_MS);

test("sysinfo and metrics are what the contract says", async () => {
  expect(GuestSysinfo.parse(await container.session.get("/v1/sysinfo"))).toMatchObject({ system: "Small" });
  const metrics = GuestMetrics.parse(await container.session.get("/v1/metrics"));
  expect(metrics).toMatchObject({ execs: 0, log: { dropped: 0 } });
  expect(metrics.memory.app_kb).toBeGreaterThan(0);
}, WAIT_MS);

test("files are read whole, those of /proc too, and what is no file is refused", async () => {
  expect(await read("/data/file")).toEqual({ status: 200, text: "content" });
  expect((await read("/proc/1/comm")).text).toBe("vm-init\n");
  await exec({ shell: "mkfifo /data/fifo", user: "root" }).exit;
  for (
    const [path, status, code] of [
      ["/data", 400, "guest.not_a_file"],
      ["/data/fifo", 400, "guest.not_a_file"],
      ["/dev/zero", 400, "guest.not_a_file"],
      ["/data/none", 404, "guest.file_not_found"],
      ["relative", 400, "guest.path_invalid"],
    ] as const
  ) {
    const answer = await read(path);
    expect([path, answer.status, codeOf(answer.text)]).toEqual([path, status, code]);
  }
}, WAIT_MS);

async function put(path: string, body: string, query = "") {
  const stream = container.session.open("PUT", `/v1/files?path=${encodeURIComponent(path)}${query}`);
  let status = 0;
  let text = "";
  stream.on("response", (headers) => status = Number(headers[":status"]));
  stream.on("data", (chunk: Buffer) => text += chunk.toString());
  for (let at = 0; at < body.length; at += 60_000) {
    stream.write(encodeFrame(FrameKind.stdin, body.slice(at, at + 60_000)));
  }
  stream.end(encodeFrame(FrameKind.stdinEnd));
  await new Promise((resolve) => stream.on("end", resolve));
  return { status, text };
}

test(
  "files are written in one step, with a mode and an owner, and replaced only where that is asked",
  async () => {
    const body = "y".repeat(300_000);
    const made = await put("/data/new", body, "&mode=0750");
    expect(made.status).toBe(200);
    expect(FileEntry.parse(JSON.parse(made.text))).toMatchObject({
      path: "/data/new",
      kind: "file",
      size_bytes: 300_000,
      mode: 0o750,
      uid: 1_000,
      gid: 1_001,
    });
    expect(codeOf((await put("/data/new", "z")).text)).toBe("guest.file_exists");
    const replaced = FileEntry.parse(JSON.parse((await put("/data/new", "z", "&replace=1")).text));
    expect(replaced).toMatchObject({ size_bytes: 1, mode: 0o750, uid: 1_000 });
    await exec({ argv: ["ln", "-s", "new", "/data/link"], user: "root" }).exit;
    expect(JSON.parse((await put("/data/link", "through", "&replace=1")).text)).toMatchObject({
      path: "/data/new",
    });
    expect((await read("/data/new")).text).toBe("through");
    expect(codeOf((await put("/none/new", "z")).text)).toBe("guest.file_not_found");
    expect(codeOf((await put("/data/a", "z", "&replace=1")).text)).toBe("guest.not_a_file");
  },
  WAIT_MS,
);

test("a file whose sender goes away does not appear, and nothing of it is left", async () => {
  const stream = container.session.open("PUT", "/v1/files?path=/data/half");
  stream.on("error", () => {});
  stream.write(encodeFrame(FrameKind.stdin, "x".repeat(1_000)));
  const temporary = async () => {
    const { text } = await ask("/v1/list", { path: "/data", depth: 1 });
    return text.includes("godwit-");
  };
  while (!await temporary());
  stream.close(8);
  while (await temporary());
  expect((await read("/data/half")).status).toBe(404);
}, WAIT_MS);

test("list tells a path and what lies in it down to a depth, and enters no other file system", async () => {
  const list = async (path: string, depth: number) => {
    const { text } = await ask("/v1/list", { path, depth });
    return text.trim().split("\n").map((line) => FileEntry.parse(JSON.parse(line)));
  };
  expect((await list("/data/file", 3)).map(({ path, kind }) => [path, kind])).toEqual([[
    "/data/file",
    "file",
  ]]);
  expect((await list("/data/a", 0)).length).toBe(1);
  expect((await list("/data/a", 1)).map(({ path }) => path)).toEqual(["/data/a", "/data/a/b"]);
  expect((await list("/data/a", 9)).map(({ path }) => path)).toEqual([
    "/data/a",
    "/data/a/b",
    "/data/a/b/deep",
  ]);
  const all = await list("/", 9);
  expect(all.find(({ path }) => path === "/proc")).toMatchObject({ kind: "folder" });
  expect(all.some(({ path }) => path.startsWith("/proc/"))).toBe(false);
  expect(all.find(({ path }) => path === "/bin/sh")).toMatchObject({ kind: "link", target: "busybox" });
}, WAIT_MS);

test("freeze is refused in a container, whose disk is its host's", async () => {
  const { status, text } = await container.session.request("POST", "/v1/freeze", { timeout_s: 5 });
  expect([status, codeOf(text)]).toEqual([409, "guest.freeze_unsupported"]);
}, WAIT_MS);
