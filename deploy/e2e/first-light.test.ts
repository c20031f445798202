/**
 * The whole of Godwit as a user meets it: the commands of the README against real servers, real images and real VMs.
 * The tests build on each other and run in order on one stack, because each VM boots in seconds here (QEMU's TCG).
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { release as hostKernel } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { homeAt } from "../stack/home.ts";
import { liveRecords } from "../stack/identity.ts";
import { describeLeftovers, findLeftovers } from "../stack/leftovers.ts";
import { processes, Stack } from "./stack.ts";

const STEP_MS = 600_000;
const stack = new Stack();
const canary = `canary-${crypto.randomUUID()}`;

beforeAll(async () => {
  await stack.up();
}, STEP_MS);
afterAll(async () => {
  await stack.downAndPurge();
}, STEP_MS);

/** Pids of the QEMU processes whose arguments name this stack's home. */
function guests(): number[] {
  return processes().filter((p) => p.argv[0]!.includes("qemu") && p.argv.join(" ").includes(stack.home))
    .map((p) => p.pid).sort();
}

function pidOf(main: string): number {
  const found = processes().find((p) =>
    p.argv.some((word) => word.endsWith(main)) && p.argv.join(" ").includes(stack.home)
  );
  if (found === undefined) throw new Error(`no process of ${main}`);
  return found.pid;
}

describe("first light", () => {
  test("up: the example answers through the edge from inside a VM", async () => {
    const answer = await stack.get("example");
    expect(answer.status).toBe(200);
    const facts = await answer.json();
    expect(facts).toMatchObject({ app: "example", region: stack.answer.regions[0] });
    expect(facts.pid1).toContain("vm-init");
    expect(facts.kernel).not.toBe(hostKernel());
    expect(facts.machine).toMatch(/^[0-9a-f]{14}$/);
    expect(facts.memory_mb).toBeLessThan(300);
    const [machine] = await stack.machines("example");
    expect(machine).toMatchObject({ machineId: facts.machine, state: "STARTED" });
    expect(answer.headers.get("fly-request-id")).toBeTruthy();
  }, STEP_MS);

  test("godwit runs commands inside of the VM and carries files in and out", async () => {
    const [machine] = await stack.machines("example");
    const loader = "/lib64/ld-linux-x86-64.so.2";
    const run = await stack.godwit(
      "machine",
      "exec",
      machine!.machineId,
      "--json",
      "--",
      loader,
      "--version",
    );
    expect(JSON.parse(run.stdout)).toMatchObject({ exit_code: 0, stdout: expect.stringContaining("ld.so") });
    expect((await stack.godwit("ssh", "console", "-a", "example", "-C", "true")).status).not.toBe(0);
    const local = join(stack.home, "loader");
    expect((await stack.godwit("ssh", "sftp", "get", loader, local, "-a", "example")).status).toBe(0);
    expect((await stack.godwit("ssh", "sftp", "put", local, "/copy", "-a", "example")).status).toBe(0);
    const copied = await stack.godwit("machine", "exec", machine!.machineId, "--", "/copy", "--version");
    expect(copied.stdout).toContain("ld.so");
    rmSync(local);
  }, STEP_MS);

  test("up again says so and changes nothing", async () => {
    const before = processes().filter((p) => p.argv.join(" ").includes(stack.home)).map((p) => p.pid).sort();
    const again = await stack.command("up", "--detach", "--json");
    expect(again.status).toBe(0);
    expect(again.stderr).toContain("already");
    const after = processes().filter((p) => p.argv.join(" ").includes(stack.home)).map((p) => p.pid).sort();
    expect(after).toEqual(before);
  }, STEP_MS);

  test("a VM's arguments name its folder and hold no secret", () => {
    const argv = processes().find((p) => p.pid === guests()[0])!.argv.join(" ");
    expect(argv).toContain(join(stack.home, "worker"));
    const secrets = JSON.parse(readFileSync(join(stack.home, "secrets.json"), "utf8"));
    const words = [secrets.postgres, secrets.registry, secrets.node_token, ...Object.values(secrets.redis)];
    words.push(stack.answer.token, secrets.snapshots, secrets.membership);
    for (const { argv } of processes()) {
      for (const word of words) expect(argv.join(" ").includes(word as string)).toBe(false);
    }
  });

  test("all that the stack listens on is loopback", async () => {
    const child = Bun.spawn(["ss", "-Htulnp"], { stdout: "pipe" });
    const lines = (await new Response(child.stdout).text()).split("\n");
    const ours = new Set(
      processes().filter((p) => p.argv.join(" ").includes(stack.home)).map((p) => `pid=${p.pid},`),
    );
    const listening = lines.filter((line) => [...ours].some((pid) => line.includes(pid)));
    expect(listening.length).toBeGreaterThan(4);
    for (const line of listening) expect(line).toMatch(/\s(127\.0\.0\.1|\[::1\]):\d+\s/);
  });

  test("bodies stream both ways and a WebSocket goes through the edge", async () => {
    const bytes = crypto.getRandomValues(new Uint8Array(65_536));
    const body = Buffer.concat(Array.from({ length: 32 }, () => bytes));
    const echoed = await stack.get("example", "/echo", { method: "POST", body });
    expect(Buffer.from(await echoed.arrayBuffer()).equals(body)).toBe(true);
    const port = new URL(stack.answer.app_url).port;
    // Bun takes headers here; the DOM types do not know it.
    const options = { headers: { host: `example.localhost:${port}` } } as unknown as string[];
    const socket = new WebSocket(`ws://127.0.0.1:${port}/ws`, options);
    const said = await new Promise((resolve, reject) => {
      socket.onopen = () => socket.send("hello");
      socket.onmessage = (event) => resolve(event.data);
      socket.onerror = reject;
    });
    socket.close();
    expect(said).toBe("hello");
  }, STEP_MS);

  test("an unknown host gets a page with its code", async () => {
    const answer = await stack.get("nobody", "/", { headers: { accept: "application/json" } });
    expect(answer.status).toBe(404);
    expect(await answer.text()).toContain("edge.unknown_host");
  });

  test("env reaches the machine and nothing of it reaches Redis or a replica", async () => {
    await stack.createApp("canary");
    await stack.createApp("third");
    const image = await exampleImage();
    // The third machine, of the tests that follow, boots beside it.
    const releases = await Promise.all([
      stack.deploy("canary", image, { env: [{ name: "CANARY", value: canary }] }),
      stack.deploy("third", image),
    ]);
    expect(releases.map(({ error }) => error)).toEqual([null, null]);
    const redis = new Redis(redisUrl());
    for (const key of await redis.keys("*")) {
      const kind = await redis.type(key);
      const text = JSON.stringify(
        kind === "stream" ? await redis.xrange(key, "-", "+") : await redis.dump(key),
      );
      expect({ key, found: text.includes(canary) }).toEqual({ key, found: false });
    }
    redis.disconnect();
    const replicas = new Bun.Glob("{edge/**/*,snapshots/replica.sqlite*}");
    for (const file of replicas.scanSync({ cwd: stack.home, absolute: true })) {
      expect({ file, found: readFileSync(file).includes(canary) }).toEqual({ file, found: false });
    }
  }, STEP_MS);
});

describe("faults", () => {
  test("kill -9 of the worker's agent loses none of three machines", async () => {
    const before = guests();
    expect(before.length).toBe(3);
    const agent = pidOf("control/worker/main.ts");
    process.kill(agent, "SIGKILL");
    expect((await stack.get("example")).status).toBe(200);
    await stack.until("a new agent", async () => pidOf("control/worker/main.ts"), (pid) => pid !== agent);
    for (const app of ["example", "canary", "third"]) {
      const [machine] = await stack.until(
        `${app} is started`,
        () => stack.machines(app),
        ([first]) => first?.state === "STARTED",
      );
      expect(machine!.lastExit).toBeNull();
      expect((await stack.get(app)).status).toBe(200);
    }
    expect(guests()).toEqual(before);
  }, STEP_MS);

  test("kill -9 of Redis, of Postgres and of control disturbs no request, and they come back", async () => {
    for (const name of ["redis", "postgres", "control"]) {
      const victim = liveRecords(homeAt(stack.home).runFolder).find((record) => record.name === name)!;
      process.kill(victim.pid, "SIGKILL");
      for (let n = 0; n < 20; n++) expect((await stack.get("example")).status).toBe(200);
    }
    await stack.until(
      "the API answers again",
      () => stack.machines("example"),
      ([first]) => first?.state === "STARTED",
    );
    await stack.createApp("after");
    await stack.graphql(`mutation { deleteApp(input: { name: "after" }) { name } }`);
  }, STEP_MS);
});

describe("stop, start, down, up", () => {
  test("a stopped machine starts again for the next request, which waits for it", async () => {
    const [machine] = await stack.machines("third");
    await stack.graphql(
      `mutation ($input: StopMachineInput!) { stopMachine(input: $input) { machine { state } } }`,
      { input: { machineId: machine!.machineId } },
    );
    await stack.until("stopped", () => stack.machines("third"), ([first]) => first?.state === "STOPPED");
    // Where the machine is busy the boot can take longer than a request is held.
    const answer = await stack.until(
      "answers again",
      () => stack.get("third"),
      ({ status }) => status === 200,
    );
    expect((await answer.json()).machine).toBe(machine!.machineId);
    await stack.graphql(`mutation { deleteApp(input: { name: "third" }) { name } }`);
    await stack.graphql(`mutation { deleteApp(input: { name: "canary" }) { name } }`);
    await stack.until("their VMs are gone", () => Promise.resolve(guests()), (pids) => pids.length === 1);
  }, STEP_MS);

  test("down leaves nothing behind, and up brings the machines back", async () => {
    const [before] = await stack.machines("example");
    const down = await stack.command("down");
    expect(down).toMatchObject({ status: 0 });
    expect(await leftovers()).toEqual([]);
    await stack.up();
    const facts = await (await stack.get("example")).json();
    expect(facts.machine).toBe(before!.machineId);
  }, STEP_MS);

  test("down --purge removes the home too", async () => {
    const down = await stack.downAndPurge();
    expect(down).toMatchObject({ status: 0 });
    expect(await leftovers()).toEqual([]);
    expect(() => readdirSync(stack.home)).toThrow();
  }, STEP_MS);
});

/** The image that `up` built and pushed. */
async function exampleImage(): Promise<string> {
  const { app } = await stack.graphql<{ app: { currentRelease: { image: string } } }>(
    `{ app(name: "example") { currentRelease { image } } }`,
  );
  return app.currentRelease.image;
}

async function leftovers(): Promise<string[]> {
  return describeLeftovers(await findLeftovers(homeAt(stack.home)));
}

/** As the operator's user, who may read everything. */
function redisUrl(): string {
  const control = JSON.parse(readFileSync(join(stack.home, "control/config.json"), "utf8"));
  const secrets = JSON.parse(readFileSync(join(stack.home, "secrets.json"), "utf8"));
  const url = new URL(control.redis_url);
  url.username = "admin";
  url.password = secrets.redis.admin;
  return url.href;
}
