/**
 * Images that nobody wrote for Godwit, and images that end badly: each must come to a state and a message that says exactly
 * that. The deploys of one describe run side by side: the worker boots as many VMs at once as it has processors.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { nginxAsRoot, nginxAsUser } from "./images/nginx.ts";
import { eatsMemory, exitsWith3, ignoresSignals, withoutPort } from "./images/small.ts";
import type { TestImage } from "./images/test-image.ts";
import { type Release, Stack } from "./stack.ts";

const STEP_MS = 600_000;
const stack = new Stack();

beforeAll(async () => {
  await stack.up();
}, STEP_MS);
afterAll(async () => {
  await stack.downAndPurge();
}, STEP_MS);

async function push(image: TestImage): Promise<string> {
  const { registry } = JSON.parse(readFileSync(join(stack.home, "cli.json"), "utf8"));
  return await image.pushTo({ host: registry.host, authFile: registry.auth_file, insecure: true });
}

function serviceOn(internalPort: number) {
  return [{ internal_port: internalPort, ports: [{ port: 80 }] }];
}

/** Deploys by app, begun before the tests that wait for them. */
class Deploys {
  readonly #begun = new Map<string, Promise<Release>>();

  async begin(app: string, image: TestImage, more: Record<string, unknown> = {}): Promise<void> {
    await stack.createApp(app);
    const release = stack.deploy(app, await push(image), more);
    // Whoever asks for it hears of a failure.
    release.catch(() => {});
    this.#begun.set(app, release);
  }

  of(app: string): Promise<Release> {
    return this.#begun.get(app) ?? Promise.reject(new Error(`no deploy of ${app} was begun`));
  }
}

describe("Debian's nginx", () => {
  const deploys = new Deploys();
  const variants = [["nginx-root", nginxAsRoot], ["nginx-user", nginxAsUser]] as const;
  beforeAll(async () => {
    for (const [name, make] of variants) {
      const image = await make();
      await deploys.begin(name, image, { services: serviceOn(image.port) });
    }
  }, STEP_MS);

  for (const [name, make] of variants) {
    test(`${name} serves a 20 MB file through the edge with the right checksum`, async () => {
      const image = await make();
      expect((await deploys.of(name)).error).toBeNull();
      expect(await (await stack.get(name)).text()).toBe("it serves\n");
      const file = await (await stack.get(name, image.largeFile.path)).arrayBuffer();
      expect(file.byteLength).toBe(image.largeFile.bytes);
      expect(new Bun.CryptoHasher("sha256").update(file).digest("hex")).toBe(image.largeFile.sha256);
    }, STEP_MS);
  }
});

describe("images that end badly", () => {
  const deploys = new Deploys();
  beforeAll(async () => {
    // Its boot is within its time, so nothing boots beside it.
    await deploys.begin("silent", await withoutPort(), { waitTimeoutS: 30 });
    const begun = await stack.until(
      "its machine runs, or its deploy has failed",
      () => stack.machines("silent"),
      ([machine]) => machine !== undefined && !["CREATED", "STARTING"].includes(machine.state),
      STEP_MS,
    );
    expect(begun[0]?.state).toBe("STARTED");
    await deploys.begin("exits", await exitsWith3());
    await deploys.begin("eats", await eatsMemory());
    await deploys.begin("deaf", await ignoresSignals(), { services: [] });
  }, STEP_MS);

  test(
    "a command that exits 3 fails the release with code 3 and its last line, and leaves no machine",
    async () => {
      const release = await deploys.of("exits");
      expect(release).toMatchObject({
        status: "FAILED",
        error: { code: "release.machine_exited", fault: "app" },
      });
      expect(release.error!.message).toContain("code 3");
      expect(release.error!.message).toContain("leaving with status 3");
      await nothingLeft("exits");
    },
    STEP_MS,
  );

  test("a process that eats all memory fails the release as out of memory", async () => {
    const release = await deploys.of("eats");
    expect(release).toMatchObject({ error: { code: "release.machine_out_of_memory", fault: "app" } });
    await nothingLeft("eats");
  }, STEP_MS);

  test("a process that listens nowhere fails the release, naming the port", async () => {
    const release = await deploys.of("silent");
    expect(release).toMatchObject({ error: { code: "release.not_listening", fault: "app" } });
    expect(release.error!.message).toContain("8080");
    await nothingLeft("silent");
  }, STEP_MS);

  test(
    "a process that ignores its stop signal is killed after its timeout, and the machine says so",
    async () => {
      expect((await deploys.of("deaf")).error).toBeNull();
      const [machine] = await stack.machines("deaf");
      await stack.graphql(
        `mutation ($input: StopMachineInput!) { stopMachine(input: $input) { machine { state } } }`,
        {
          input: { machineId: machine!.machineId, timeoutS: 1 },
        },
      );
      const [stopped] = await stack.until(
        "stopped",
        () => stack.machines("deaf"),
        ([m]) => m?.state === "STOPPED",
      );
      expect(stopped!.lastExit).toMatchObject({
        exitCode: 137,
        signal: "SIGKILL",
        requested: true,
        oomKilled: false,
      });
    },
    STEP_MS,
  );
});

describe("bad input", () => {
  test(
    "an unknown image, a wrong digest and an unreachable registry each say so and leave nothing",
    async () => {
      await stack.createApp("wrong");
      const { registry } = JSON.parse(readFileSync(join(stack.home, "cli.json"), "utf8"));
      const cases = [
        [`${registry.host}/no/such:v1`, "image.not_found"],
        [`${registry.host}/no/such@sha256:${"0".repeat(64)}`, "image.not_found"],
        ["127.0.0.1:1/no/such:v1", "image.registry_unreachable"],
        ["not a reference", "release.image_invalid"],
      ] as const;
      for (const [image, code] of cases) {
        const outcome = await stack.deploy("wrong", image).then(
          (release) => release.error?.code,
          (error) => error.message,
        );
        expect(outcome).toContain(code);
      }
      await nothingLeft("wrong");
    },
    STEP_MS,
  );

  test("the CLI answers in JSON alone and exits by its documented codes", async () => {
    const unknown = await stack.godwit("machine", "status", "0123456789abcd", "--json");
    expect(unknown.status).toBe(3);
    expect(JSON.parse(unknown.stdout || unknown.stderr)).toMatchObject({
      error: { code: "cli.not_found" },
    });
    const list = await stack.godwit("apps", "list", "--json");
    expect(list.status).toBe(0);
    expect(JSON.stringify(JSON.parse(list.stdout))).toContain("nginx-root");
    const foreign = await stack.godwit(
      "apps",
      "list",
      "--json",
      "--access-token",
      "eyJhbGciOiJFZERTQSJ9.e30.AA",
    );
    expect(foreign.status).toBe(4);
  }, STEP_MS);
});

async function nothingLeft(app: string): Promise<void> {
  await stack.until(
    `no machine of ${app}`,
    () => stack.machines(app),
    (machines) => machines.every((machine) => machine.state === "DESTROYED"),
  );
}
