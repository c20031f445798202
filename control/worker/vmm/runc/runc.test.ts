/** The contract suite on real runc, and what is runc's own: steps on the host that can be cut off. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { driverContract, guestOf } from "../driver.contract.ts";
import { makeWorld, run, tracesOf, type World } from "../driver.fixture.ts";
import type { VmSpec } from "../driver.ts";
import { RuncDriver } from "./runc-driver.ts";

const TEST_MS_MAX = 90_000;
/** Spread over the time that a new process and its start take. */
const CUT_AFTER_MS = [60, 100, 130, 160, 190, 220, 250, 300, 360];

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

/** Starts the machine from another process and kills that one with -9 after a while. */
async function startAndCutOff(spec: VmSpec, afterMs: number): Promise<void> {
  const owner = Bun.spawn([process.execPath, join(import.meta.dir, "../driver-owner.fixture.ts"), "runc"], {
    stdin: new Blob([JSON.stringify({ guest: world.guest, spec })]),
    stdout: "ignore",
    stderr: "inherit",
  });
  await Bun.sleep(afterMs);
  owner.kill("SIGKILL");
  await owner.exited;
}

test("clean() leaves nothing of a start that was cut off anywhere", async () => {
  for (const afterMs of CUT_AFTER_MS) {
    const spec = await world.spec(["serve"]);
    await startAndCutOff(spec, afterMs);
    await driver.clean(spec);
    expect(await tracesOf(driver, spec)).toEqual([]);
  }
}, TEST_MS_MAX);

test("start() finishes a start that was cut off anywhere, its link included", async () => {
  const name = `gwtest${process.pid % 100_000}`;
  await makeLink(name);
  for (const afterMs of CUT_AFTER_MS) {
    const spec = await world.spec(["serve"], { link: { name, mac: "02:00:00:00:00:01" } });
    await startAndCutOff(spec, afterMs);
    const guest = await guestOf(await driver.start(spec));
    expect((await guest.status({ waitMs: 10_000 })).phase).toBe("running");
    guest.close();
    await driver.clean(spec);
    expect(await tracesOf(driver, spec)).toEqual([]);
    // clean() has given the container's end back.
    await run(["ip", "link", "show", "dev", `${name}p`]);
  }
  await run(["ip", "link", "delete", name]);
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
