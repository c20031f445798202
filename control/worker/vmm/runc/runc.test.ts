/** The contract suite on real runc, and what is runc's own: steps on the host that can be cut off. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { driverContract, guestOf } from "../driver.contract.ts";
import { makeWorld, run, tracesOf, type World } from "../driver.fixture.ts";
import type { VmSpec } from "../driver.ts";
import { cgroupNames } from "./cgroups.ts";
import { netnsNames } from "./netns.ts";
import { runcPaths } from "./runc-paths.ts";
import { RuncDriver } from "./runc-driver.ts";

const TEST_MS_MAX = 240_000;

type Paths = ReturnType<typeof runcPaths>;
const isMounted = (point: string) => readFileSync("/proc/self/mountinfo", "utf8").includes(` ${point} `);

/** What can be seen of a start, in its order; it is cut off as soon as one shows. */
const STAGES: Record<string, (paths: Paths) => boolean> = {
  "network namespace": ({ kernelName }) => netnsNames().includes(kernelName),
  folders: ({ rootfs }) => existsSync(rootfs),
  "image mounted": ({ image }) => isMounted(image),
  "root mounted": ({ rootfs }) => isMounted(rootfs),
  bundle: ({ bundle }) => existsSync(join(bundle, "config.json")),
  "runc at work": ({ state }) => existsSync(state),
  cgroup: ({ kernelName }) => cgroupNames().includes(kernelName),
  "pid file": ({ pidFile }) => existsSync(pidFile),
  record: ({ record }) => existsSync(record),
};

const makeLink = async (name: string) =>
  void await run(["ip", "link", "add", "dev", name, "type", "veth", "peer", "name", `${name}p`]);

driverContract({ name: "runc", make: (guest) => new RuncDriver(guest), record: "runc.json", makeLink });

let world: World;
let driver: RuncDriver;
beforeAll(async () => {
  world = await makeWorld();
  driver = new RuncDriver(world.guest);
}, TEST_MS_MAX);
afterAll(() => world.remove());

/** Starts the machine from another process and kills that one with -9 when the stage is reached. */
async function startAndCutOff(spec: VmSpec, reached: (paths: Paths) => boolean): Promise<void> {
  const owner = Bun.spawn([process.execPath, join(import.meta.dir, "../driver-owner.fixture.ts"), "runc"], {
    stdin: new Blob([JSON.stringify({ guest: world.guest, spec })]),
    stdout: "ignore",
    stderr: "inherit",
  });
  const paths = runcPaths(spec);
  while (!reached(paths)) {
    if (owner.exitCode !== null) throw new Error("the start ended before the stage was seen");
    await Bun.sleep(1);
  }
  owner.kill("SIGKILL");
  await owner.exited;
}

test("clean() leaves nothing of a start that was cut off anywhere", async () => {
  for (const reached of Object.values(STAGES)) {
    const spec = await world.spec(["serve"]);
    await startAndCutOff(spec, reached);
    await driver.clean(spec);
    expect(await tracesOf(driver, spec)).toEqual([]);
  }
}, TEST_MS_MAX);

test("start() finishes a start that was cut off anywhere, its link included", async () => {
  const name = `gwtest${process.pid % 100_000}`;
  await makeLink(name);
  await using _link = { [Symbol.asyncDispose]: async () => void await run(["ip", "link", "delete", name]) };
  for (const reached of Object.values(STAGES)) {
    const spec = await world.spec(["serve"], { link: { name, mac: "02:00:00:00:00:01" } });
    await startAndCutOff(spec, reached);
    const guest = await guestOf(await driver.start(spec));
    expect((await guest.status({ waitMs: 10_000 })).phase).toBe("running");
    guest.close();
    await driver.clean(spec);
    expect(await tracesOf(driver, spec)).toEqual([]);
    // clean() has given the container's end back.
    await run(["ip", "link", "show", "dev", `${name}p`]);
  }
}, TEST_MS_MAX);

test("a name of a network namespace that was only half made is no obstacle", async () => {
  const spec = await world.spec(["exit", "0"]);
  const half = `/run/netns/${runcPaths(spec).kernelName}`;
  mkdirSync("/run/netns", { recursive: true });
  writeFileSync(half, "");
  expect(await driver.list(spec.prefix)).toContain(spec.machineId);
  await driver.clean(spec);
  expect(await tracesOf(driver, spec)).toEqual([]);
  writeFileSync(half, "");
  await (await driver.start(spec)).exited;
  await driver.clean(spec);
  expect(await tracesOf(driver, spec)).toEqual([]);
}, TEST_MS_MAX);

test("start() says which link is missing", async () => {
  const spec = await world.spec(["serve"], { link: { name: "gwtestnone", mac: "02:00:00:00:00:01" } });
  const error = await driver.start(spec).then(() => null, (e) => e);
  expect(error?.code).toBe("vmm.link_missing");
  expect(error?.message).toContain("gwtestnonep");
  expect(await tracesOf(driver, spec)).toEqual([]);
});

test("start() gives runc's own words when it refuses", async () => {
  const initFolder = world.folder;
  const broken = new RuncDriver({ init_folder: initFolder });
  const spec = await world.spec(["serve"]);
  const error = await broken.start(spec).then(() => null, (e) => e);
  expect(error?.code).toBe("vmm.start_failed");
  expect(error?.message).toContain("/.godwit/init/vm-init");
  expect(await tracesOf(driver, spec)).toEqual([]);
});
