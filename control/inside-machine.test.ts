/** What people do inside a machine, from the command line through the API and the worker to the guest and back. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { issueToken } from "./access/token.ts";
import { EXIT } from "./cli/exit-code.ts";
import { encodeFrame, FrameKind } from "./contract/exec-frames.ts";
import { GuestMetrics, GuestProcesses } from "./contract/guest-api.ts";
import { InsideMachine } from "./inside-machine.fixture.ts";

const WAIT_MS = 30_000;
const SEES_WAIT_MS = 10_000;
const folder = mkdtempSync(join(tmpdir(), "godwit-inside-"));
let inside: InsideMachine;
beforeAll(async () => {
  inside = await InsideMachine.start();
}, 120_000);
afterAll(async () => {
  await inside.close();
  rmSync(folder, { recursive: true });
}, 60_000);

const busybox = (applet: string, ...words: string[]) => ["--", "/bin/busybox", applet, ...words];
const exec = (...words: string[]) => ["machine", "exec", inside.machineId, ...words];

/** Resolves when no command runs in the machine. */
async function noneRuns(): Promise<void> {
  const path = `/v1/machines/${inside.machineId}/guest-metrics`;
  while (GuestMetrics.parse(await inside.worker.call("GET", path)).execs > 0);
}

describe("godwit machine exec", () => {
  test("prints what the command prints and ends as it ends", async () => {
    const run = await inside.godwit(exec(...busybox("sh", "-c", "echo out; echo err >&2; exit 7")));
    expect(run).toEqual({ status: 7, stdout: "out\n", stderr: "err\n" });
    expect((await inside.godwit(exec("echo $CANARY; exit 3"))).stdout).toBe("canary-in-env\n");
  }, WAIT_MS);

  test("answers in one JSON document", async () => {
    const run = await inside.godwit(exec("--json", "--timeout", "1", "sleep 1000"));
    expect(JSON.parse(run.stdout)).toEqual({
      machine: inside.machineId,
      exit_code: 137,
      signal: "SIGKILL",
      timed_out: true,
      stdout: "",
      stderr: "",
      truncated: false,
    });
    expect(run.status).toBe(137);
  }, WAIT_MS);

  test("passes stdin on, and a large output unharmed", async () => {
    const text = "some words of a line\n".repeat(50_000);
    const run = await inside.godwit(exec("-i", "cat"), { stdin: text });
    expect(run.status).toBe(0);
    expect(run.stdout === text).toBe(true);
  }, WAIT_MS);

  test("says what cannot be run", async () => {
    const missing = await inside.godwit(exec("nothing-here"));
    expect(missing.status).toBe(EXIT.usage);
    expect(missing.stderr).toContain("executable not found in PATH");
    const nobody = await inside.godwit(exec("-u", "nobody-here", "sh"));
    expect(nobody.stderr).toContain("/etc/passwd of the image has no such name");
    expect((await inside.godwit(["machine", "exec", "00000000000000", "sh"])).status).toBe(EXIT.notFound);
    expect((await inside.godwit(["machine", "exec", "x", "sh"])).status).toBe(EXIT.usage);
    expect((await inside.godwit(exec())).status).toBe(EXIT.usage);
  }, WAIT_MS);

  test("ends the command when this side is killed", async () => {
    const child = Bun.spawn(inside.argv(...exec("echo up; exec sleep 1000")), {
      stdin: "ignore",
      stdout: "pipe",
      stderr: "inherit",
      env: inside.env,
    });
    await child.stdout.getReader().read();
    child.kill("SIGKILL");
    await child.exited;
    await noneRuns();
  }, WAIT_MS);
});

/** The command line on a terminal of its own, as a person has one. */
class Person {
  readonly child: Bun.Subprocess;
  readonly terminal: Bun.Terminal;
  seen = "";
  #heard = Promise.withResolvers<void>();

  constructor(args: string[]) {
    this.terminal = new Bun.Terminal({
      cols: 90,
      rows: 30,
      data: (_, bytes) => {
        this.seen += Buffer.from(bytes).toString();
        this.#heard.resolve();
        this.#heard = Promise.withResolvers();
      },
    });
    this.child = Bun.spawn(inside.argv(...args), { terminal: this.terminal, env: inside.env });
  }

  async sees(text: string): Promise<void> {
    const deadline = performance.now() + SEES_WAIT_MS;
    while (!this.seen.includes(text)) {
      await Promise.race([this.#heard.promise, Bun.sleep(SEES_WAIT_MS)]);
      if (performance.now() > deadline) {
        throw new Error(`never saw ${JSON.stringify(text)} in ${JSON.stringify(this.seen)}`);
      }
    }
  }

  async types(text: string, then: string): Promise<void> {
    this.terminal.write(text);
    await this.sees(then);
  }
}

const flagsOf = (
  { inputFlags, outputFlags, localFlags }: Bun.Terminal,
) => [inputFlags, outputFlags, localFlags];

describe("godwit ssh console", () => {
  test(
    "is a shell on a terminal: size, resizing, Ctrl-C, exit code, and the terminal given back",
    async () => {
      const person = new Person(["ssh", "console"]);
      const before = flagsOf(person.terminal);
      // busybox's sh asks where the cursor is; a prompt is a prompt.
      await person.sees("# ");
      expect(flagsOf(person.terminal)).not.toEqual(before);
      await person.types("/bin/busybox stty size\r", "30 90");
      person.terminal.resize(120, 40);
      // A window system would tell it.
      person.child.kill("SIGWINCH");
      for (let tries = 0; !person.seen.includes("40 120"); tries++) {
        await person.types(`/bin/busybox stty size; echo look''ed${tries}\r`, `looked${tries}\r\n`);
      }
      await person.types("echo wait''ing; sleep 1000\r", "waiting\r\n");
      await person.types("\x03", "# ");
      await person.types("echo status''=$?\r", "status=130");
      person.terminal.write("exit 5\r");
      expect(await person.child.exited).toBe(5);
      expect(flagsOf(person.terminal)).toEqual(before);
      await noneRuns();
    },
    WAIT_MS,
  );

  test("gives the terminal back when it is ended from outside, and the command ends too", async () => {
    const person = new Person(["ssh", "console", "--machine", inside.machineId]);
    const before = flagsOf(person.terminal);
    await person.sees("# ");
    person.child.kill("SIGTERM");
    expect(await person.child.exited).toBe(143);
    expect(flagsOf(person.terminal)).toEqual(before);
    await noneRuns();
  }, WAIT_MS);

  test("runs one command with -C, and a script from stdin where there is no terminal", async () => {
    const one = await inside.godwit(["ssh", "console", "-C", "echo one; echo two >&2; exit 4"], {
      stdin: "",
    });
    expect(one).toEqual({ status: 4, stdout: "one\n", stderr: "two\n" });
    const script = await inside.godwit(["ssh", "console"], {
      stdin: "echo first\necho $((6 * 7))\nexit 6\n",
    });
    expect(script).toEqual({ status: 6, stdout: "first\n42\n", stderr: "" });
  }, WAIT_MS);

  test("says when no machine runs, and when there is no app", async () => {
    await inside.api.createApp("empty");
    const empty = await inside.godwit(["ssh", "console", "-a", "empty"]);
    expect([empty.status, empty.stderr]).toEqual([EXIT.appFailed, expect.stringContaining("it has none")]);
    expect((await inside.godwit(["ssh", "console", "-a", "nowhere"])).status).toBe(EXIT.notFound);
  }, WAIT_MS);
});

describe("godwit ssh sftp", () => {
  const sftp = (...words: string[]) => inside.godwit(["ssh", "sftp", ...words], { cwd: folder });

  test("puts a file, lists it, and gets it back, byte for byte and with its mode", async () => {
    const bytes = Buffer.concat(
      Array.from({ length: 80 }, () => crypto.getRandomValues(new Uint8Array(65_536))),
    );
    writeFileSync(join(folder, "large"), bytes, { mode: 0o640 });
    expect((await sftp("put", "large", "/tmp/")).status).toBe(0);
    const { entries } = JSON.parse((await sftp("ls", "/tmp", "--json")).stdout);
    expect(entries).toMatchObject([{
      path: "/tmp/large",
      kind: "file",
      size_bytes: bytes.length,
      mode: 0o640,
    }]);
    expect((await sftp("ls", "/tmp")).stdout).toMatch(/-rw-r-----\s+0:0\s+5242880\s+\S+\s+large/);
    const got = JSON.parse((await sftp("get", "/tmp/large", "back", "--json")).stdout);
    expect(got).toEqual({
      machine: inside.machineId,
      remote: "/tmp/large",
      local: "back",
      size_bytes: bytes.length,
    });
    expect(readFileSync(join(folder, "back")).equals(bytes)).toBe(true);
    expect(statSync(join(folder, "back")).mode & 0o777).toBe(0o640);
  }, WAIT_MS);

  test("replaces nothing without --force, on either side", async () => {
    writeFileSync(join(folder, "note"), "one");
    expect((await sftp("put", "note", "/tmp/note", "-m", "0600")).status).toBe(0);
    writeFileSync(join(folder, "note"), "two");
    for (const words of [["put", "note", "/tmp/note"], ["get", "/tmp/note"]]) {
      const refused = await sftp(...words);
      expect([refused.status, refused.stderr]).toEqual([EXIT.usage, expect.stringContaining("--force")]);
    }
    expect(readFileSync(join(folder, "note"), "utf8")).toBe("two");
    expect((await sftp("put", "note", "/tmp/note", "--force")).status).toBe(0);
    writeFileSync(join(folder, "note"), "three");
    expect((await sftp("get", "/tmp/note", ".", "--force")).status).toBe(0);
    expect(readFileSync(join(folder, "note"), "utf8")).toBe("two");
  }, WAIT_MS);

  test("finds every path, and says what cannot be had", async () => {
    const found = (await sftp("find", "/bin")).stdout.trim().split("\n");
    expect(found).toContain("/bin/busybox");
    expect(found[0]).toBe("/bin");
    expect((await sftp("get", "/none")).status).toBe(EXIT.notFound);
    expect((await sftp("get", "/bin")).stderr).toContain("not a file");
    expect((await sftp("put", "nothing-here", "/tmp/")).status).toBe(EXIT.usage);
    expect((await sftp("ls", "/none")).status).toBe(EXIT.notFound);
    expect(readdirSync(folder).filter((name) => name.includes("godwit-"))).toEqual([]);
    expect(existsSync(join(folder, "none"))).toBe(false);
  }, WAIT_MS);
});

describe("the API", () => {
  const path = (verb: string, app = inside.app) => `/v1/apps/${app}/machines/${inside.machineId}/${verb}`;
  const post = (body: unknown) => ({
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });

  test("runs a command with the reference's bodies", async () => {
    const shell = await inside.api.request(
      path("exec"),
      post({ cmd: "cat; echo err >&2; exit 9", stdin: "in" }),
    );
    expect(await shell.json()).toEqual({
      exit_code: 9,
      stdout: "in",
      stderr: "err\n",
      signal: null,
      timed_out: false,
      truncated: false,
    });
    const words = await inside.api.request(path("exec"), post({ command: ["sleep", "100"], timeout: 0.1 }));
    expect(await words.json()).toMatchObject({ exit_code: 137, timed_out: true });
    for (const body of [{}, { cmd: "x", command: ["x"] }, { cmd: 1 }, { cmd: "x", timeout: 1_000 }]) {
      const refused = await inside.api.request(path("exec"), post(body));
      expect([refused.status, (await refused.json()).error.code]).toEqual([400, "machine.exec_invalid"]);
    }
  }, WAIT_MS);

  test("tells what runs, with the reference's names", async () => {
    const processes = await (await inside.api.request(path("ps"))).json();
    expect(processes).toContainEqual({
      pid: expect.any(Number),
      command: "sleep 1000",
      cpu: expect.any(Number),
      rss: expect.any(Number),
      listen_sockets: [],
    });
  }, WAIT_MS);

  test("lets in only who may: another organisation sees nothing, a reader runs nothing", async () => {
    const token = (organizations: string[], scopes: ("read" | "write")[]) =>
      issueToken(inside.api.keys, { subject: "somebody", organizations, scopes, expiresInS: 60 }, new Date());
    const reader = await token(["personal"], ["read"]);
    const stranger = await token(["strangers"], ["read", "write"]);
    const files = `/v1/machines/${inside.machineId}/files?path=/bin/busybox`;
    const stream = `/v1/machines/${inside.machineId}/exec/stream`;
    const tried = async (target: string, init: RequestInit, as: string) =>
      (await inside.api.request(target, init, as)).status;
    expect(await tried(path("exec"), post({ cmd: "true" }), reader)).toBe(403);
    expect(await tried(files, {}, reader)).toBe(403);
    expect(await tried(stream, { method: "POST", body: "x" }, reader)).toBe(403);
    for (const target of [path("ps"), files]) expect(await tried(target, {}, stranger)).toBe(404);
    expect(await tried(path("exec"), post({ cmd: "true" }), stranger)).toBe(404);
    expect(await tried(path("ps", "another"), {}, inside.api.token)).toBe(404);
  }, WAIT_MS);

  test("logs who did what to which machine, and no word of it", async () => {
    const secret = `secret-${crypto.randomUUID()}`;
    await inside.api.request(path("exec"), post({ cmd: `echo ${secret}`, stdin: secret }));
    await inside.godwit(["ssh", "sftp", "get", `/tmp/${secret}`]);
    const logged = inside.api.logged.join("");
    expect(logged).not.toContain(secret);
    expect(inside.api.logged.map((line) => JSON.parse(line))).toContainEqual(expect.objectContaining({
      msg: "machine accessed",
      action: "exec",
      app: inside.app,
      machine: inside.machineId,
      subject: expect.any(String),
    }));
  }, WAIT_MS);
});

describe("streams", () => {
  test("a reader that stands still holds the command up, and nothing else", async () => {
    const stream = `/v1/machines/${inside.machineId}/exec/stream`;
    const opening = encodeFrame(FrameKind.open, JSON.stringify({ argv: ["/bin/busybox", "yes"] }));
    const ended = new AbortController();
    const answer = await fetch(new URL(stream, inside.url), {
      method: "POST",
      headers: { authorization: `Bearer ${inside.api.token}` },
      body: new ReadableStream({ start: (controller) => controller.enqueue(opening) }),
      signal: ended.signal,
      duplex: "half",
    } as RequestInit);
    const reader = answer.body!.getReader();
    await reader.read();
    const cpuMs = async () => {
      const { processes } = GuestProcesses.parse(
        await inside.worker.call("GET", `/v1/machines/${inside.machineId}/ps`),
      );
      return processes.find(({ command }) => command.endsWith("yes"))!.cpu_ms;
    };
    let before = -1;
    for (let now = await cpuMs(); now !== before; now = await cpuMs()) {
      before = now;
      await Bun.sleep(200);
    }
    expect((await inside.godwit(exec("echo beside"))).stdout).toBe("beside\n");
    let bytes = 0;
    while (bytes < 8_388_608) bytes += (await reader.read()).value!.length;
    ended.abort();
    await noneRuns();
  }, WAIT_MS);

  test("a stream that does not begin with a command is refused", async () => {
    const path = `/v1/machines/${inside.machineId}/exec/stream`;
    for (const bytes of [Buffer.alloc(0), Buffer.from("garbage"), encodeFrame(FrameKind.stdin, "x")]) {
      const body = new Blob([Uint8Array.from(bytes)]).stream();
      const refused = await inside.api.request(path, { method: "POST", body, duplex: "half" } as RequestInit);
      expect([refused.status, (await refused.json()).error.code]).toEqual([400, "request.invalid"]);
    }
  }, WAIT_MS);

  test("an upload that is cut off leaves no file", async () => {
    const path = `/v1/machines/${inside.machineId}/files?path=/tmp/cut`;
    const cut = new AbortController();
    let sent = 0;
    const upload = fetch(new URL(path, inside.url), {
      method: "PUT",
      headers: { authorization: `Bearer ${inside.api.token}` },
      body: new ReadableStream({
        pull(controller) {
          controller.enqueue(new Uint8Array(65_536));
          if (++sent === 40) cut.abort();
        },
      }),
      signal: cut.signal,
      duplex: "half",
    } as RequestInit);
    expect(await upload.then(() => "answered", () => "cut")).toBe("cut");
    const list = async () => (await inside.godwit(["ssh", "sftp", "find", "/tmp"])).stdout;
    let found = await list();
    while (found.includes("godwit-")) found = await list();
    expect(found).not.toContain("cut");
  }, WAIT_MS);
});
