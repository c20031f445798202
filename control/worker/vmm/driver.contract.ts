/**
 * What every driver must do, run over each of them. Cases share boots, since one costs seconds under emulation: five of
 * them here.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { GuestLogLine } from "../../contract/guest-api.ts";
import { BOOT_FAILURE_MARK } from "../../contract/guest-api.ts";
import type { WorkerConfig } from "../../contract/process-config.ts";
import { CONSOLE_TAIL_BYTES, type Vm, type VmmDriver, type VmmName, type VmSpec } from "./driver.ts";
import { makeWorld, run, tracesOf, type World } from "./driver.fixture.ts";
import { GuestClient } from "./guest-client.ts";
import { identify } from "./host-process.ts";

const GUEST_WAIT_MS = 90_000;
const TEST_MS_MAX = 240_000;

export interface Subject {
  readonly name: VmmName;
  readonly make: (guest: WorkerConfig["guest"]) => VmmDriver;
  /** File of the run folder by which a VM is usually found again; the suite removes it to force the other way. */
  readonly record: string;
  /** What driver-owner.fixture.ts needs beside guest and spec. */
  readonly ownerInput?: Readonly<Record<string, unknown>>;
  /** Makes the host's side of a link with this address. */
  readonly makeLink: (name: string) => Promise<void>;
  /** Changes a byte of what `suspend` saved; of a driver that can. */
  readonly damage?: (spec: VmSpec) => void | Promise<void>;
}

export function driverContract(subject: Subject): void {
  describe(`${subject.name} driver`, () => {
    let world: World;
    let driver: VmmDriver;

    beforeAll(async () => {
      world = await makeWorld();
      driver = subject.make(world.guest);
    }, TEST_MS_MAX);
    afterAll(() => world.remove());

    const can = subject.make(NO_GUEST).can;
    const suspends = can.suspend === null ? test : test.skip;
    const unlessSo = can.suspend === null ? "" : ` (skipped: ${can.suspend})`;

    const cleaned = async (spec: VmSpec) => {
      await driver.clean(spec);
      expect(await tracesOf(driver, spec)).toEqual([]);
    };

    test("probe() says that it can run machines here, and what a user should know", async () => {
      const probe = await driver.probe();
      expect(probe.usable).toBe(true);
      expect(probe.note).not.toBe("");
      expect(await driver.probe()).toEqual(probe);
    });

    test("adopt() and clean() of a machine that never was do nothing", async () => {
      const spec = await world.spec(["serve"]);
      expect(await driver.adopt(spec)).toBeNull();
      await cleaned(spec);
    });

    test("start() names the file that is missing, and leaves nothing", async () => {
      const spec = await world.spec(["serve"], { imageFile: "/nowhere/image.erofs" });
      const error = await driver.start(spec).then(() => null, (e) => e);
      expect(error?.code).toBe("vmm.file_missing");
      expect(error?.message).toContain("/nowhere/image.erofs");
      await cleaned(spec);
    });

    test(
      "a machine runs, answers on its network, logs, is adopted, takes signals, stops and starts again",
      async () => {
        await using link = await linkFor(subject);
        const spec = await world.spec(["serve"], { link: { name: link.name, mac: link.mac } });
        const network = { ...LINK_INSIDE, address4: `${link.inside}/31`, gateway4: link.host };
        const withNetwork = { ...spec, runConfig: { ...spec.runConfig, network } };
        const first = await driver.start(withNetwork);
        expect((await driver.start(withNetwork)).pid).toBe(first.pid);
        expect(await driver.list(spec.prefix)).toContain(spec.machineId);
        const guest = await guestOf(first);
        const status = await guest.status({ waitMs: GUEST_WAIT_MS });
        expect(status.failure).toBeNull();
        expect(status.phase).toBe("running");
        const lines = new Lines(guest);
        await lines.until("to stdout");
        await lines.until("to stderr");
        expect(lines.seen.find((line) => line.line === "to stderr")?.stream).toBe("stderr");
        expect(await fetchUntilUp(`http://${link.inside}:8080/`)).toBe("hello from inside\n");
        expect((await guest.listeners()).listeners.map((listener) => listener.port)).toContain(8080);

        guest.close();
        first.detach();
        const second = (await driver.adopt(withNetwork))!;
        expect(second.pid).toBe(first.pid);
        const guestAgain = await guestOf(second);
        expect((await guestAgain.status()).phase).toBe("running");
        const linesAgain = new Lines(guestAgain);
        await linesAgain.until("to stdout");
        await guestAgain.signal("SIGHUP");
        await linesAgain.until("got HUP");
        await guestAgain.stop({ signal: "SIGTERM", timeout_s: 10 });
        expect(await guestAgain.exit({ timeoutMs: GUEST_WAIT_MS })).toMatchObject({
          exit_code: 0,
          signal: null,
        });
        await linesAgain.until("got TERM");
        await guestAgain.acknowledgeExit();
        expect((await second.exited).reason).toBeNull();
        const tail = await second.consoleTail();
        expect(tail).toContain("godwit-init:");
        expect(tail.length).toBeLessThanOrEqual(CONSOLE_TAIL_BYTES);
        expect(await driver.adopt(withNetwork)).toBeNull();
        await cleaned(spec);

        // The layer is the machine's: what the first run wrote is there in the next one.
        const exiting = {
          ...spec.runConfig,
          network,
          image: { ...spec.runConfig.image, cmd: ["exit", "3"] },
        };
        const third = await driver.start({ ...spec, runConfig: exiting });
        const guestThird = await guestOf(third);
        const linesThird = new Lines(guestThird);
        await linesThird.until("found what was kept");
        expect(await guestThird.exit({ timeoutMs: GUEST_WAIT_MS })).toMatchObject({
          exit_code: 3,
          signal: null,
        });
        await guestThird.acknowledgeExit();
        expect((await third.exited).reason).toBeNull();
        await cleaned(spec);
      },
      TEST_MS_MAX,
    );

    test("a process that ignores its signal is killed when patience ends", async () => {
      const spec = await world.spec(["stubborn"]);
      const vm = await driver.start(spec);
      const guest = await guestOf(vm);
      await new Lines(guest).until("deaf");
      await guest.stop({ signal: "SIGTERM", timeout_s: 1 });
      expect(await guest.exit({ timeoutMs: GUEST_WAIT_MS })).toMatchObject({
        exit_code: 137,
        signal: "SIGKILL",
      });
      await guest.acknowledgeExit();
      expect((await vm.exited).reason).toBeNull();
      await cleaned(spec);
    }, TEST_MS_MAX);

    test(
      "a machine outlives the kill -9 of the process that started it, is found without its record, and killed",
      async () => {
        const spec = await world.spec(["serve"]);
        const owner = Bun.spawn([
          process.execPath,
          join(import.meta.dir, "driver-owner.fixture.ts"),
          subject.name,
        ], {
          stdin: new Blob([JSON.stringify({ guest: world.guest, spec, ...subject.ownerInput })]),
          stdout: "pipe",
          stderr: "inherit",
        });
        const reader = owner.stdout.getReader();
        const pid = Number(new TextDecoder().decode((await reader.read()).value));
        owner.kill("SIGKILL");
        await owner.exited;
        rmSync(join(spec.runFolder, subject.record));

        const vm = (await driver.adopt(spec))!;
        expect(vm.pid).toBe(pid);
        const guest = await guestOf(vm);
        expect((await guest.status({ waitMs: GUEST_WAIT_MS })).phase).toBe("running");
        await vm.kill();
        await guest.closed;
        expect((await vm.exited).vmmStatus).toBeNull();
        await vm.kill();
        await cleaned(spec);
      },
      TEST_MS_MAX,
    );

    test("a boot that fails says the step, the operands and the reason", async () => {
      const spec = await world.spec([]);
      const image = { ...spec.runConfig.image, entrypoint: ["/no/such/program"] };
      const vm = await driver.start({ ...spec, runConfig: { ...spec.runConfig, image } });
      const guest = await guestOf(vm);
      const status = await guest.status({ waitMs: GUEST_WAIT_MS });
      expect(status.phase).toBe("failed");
      expect(status.failure?.step).toBe("spawn");
      await guest.acknowledgeExit();
      const { reason } = await vm.exited;
      expect(reason).toContain("spawn: ");
      expect(reason).toContain("/no/such/program");
      expect(await vm.consoleTail()).toContain(BOOT_FAILURE_MARK);
      await cleaned(spec);
    }, TEST_MS_MAX);

    suspends(
      `suspend() saves memory, and resume() goes on with it, once${unlessSo}`,
      async () => {
        const { layerFile } = await world.spec([]);
        const spec = await world.spec(["count"], { layerFile });
        await using disk = await smallDisk(spec.folder);
        const first = await driver.start(spec);
        const guest = await guestOf(first);
        const lines = new Lines(guest);
        await lines.until("counting");
        await guest.signal("SIGHUP");
        await lines.until("count 1");

        // A disk that is full costs the machine nothing.
        const error = await first.suspend(new AbortController().signal).then(() => null, (e) => e);
        expect(error?.code).toBe("vmm.suspend_failed");
        expect(driver.isSuspended(spec)).toBe(false);
        expect(readdirSync(spec.folder).filter((name) => name.startsWith("memory"))).toEqual([]);
        const guestAgain = await guestOf(first);
        const linesAgain = new Lines(guestAgain);
        await guestAgain.signal("SIGHUP");
        await linesAgain.until("count 2");

        // Nor does a change of mind.
        await disk.grow();
        const calledOff = await first.suspend(AbortSignal.abort()).then(() => null, (e) => e);
        expect(calledOff?.code).toBe("vmm.suspend_failed");
        expect(driver.isSuspended(spec)).toBe(false);

        const before = await (await guestOf(first)).status();
        await first.suspend(new AbortController().signal);
        expect((await first.exited).reason).toBeNull();
        expect(driver.isSuspended(spec)).toBe(true);
        expect(await driver.adopt(spec)).toBeNull();
        expect(await driver.list(spec.prefix)).not.toContain(spec.machineId);
        await driver.clean(spec);
        expect(driver.isSuspended(spec)).toBe(true);

        const second = await driver.resume(spec);
        expect(driver.isSuspended(spec)).toBe(false);
        const same = await driver.resume(spec);
        expect(same.pid).toBe(second.pid);
        same.detach();
        const guestSecond = await guestOf(second);
        const after = await guestSecond.status();
        expect(after.pid).toBe(before.pid);
        expect(after.uptime_s).toBeGreaterThanOrEqual(before.uptime_s);
        const linesSecond = new Lines(guestSecond);
        await guestSecond.signal("SIGHUP");
        await linesSecond.until("count 3");

        // One that was resumed is adopted and suspended like any other.
        guestSecond.close();
        second.detach();
        const third = (await driver.adopt(spec))!;
        expect(third.pid).toBe(second.pid);
        const guestThird = await guestOf(third);
        const linesThird = new Lines(guestThird);
        await guestThird.signal("SIGHUP");
        await linesThird.until("count 4");
        await third.suspend(new AbortController().signal);
        const fourth = await driver.resume(spec);
        const guestFourth = await guestOf(fourth);
        const linesFourth = new Lines(guestFourth);
        await guestFourth.signal("SIGHUP");
        await linesFourth.until("count 5");

        // Memory that was damaged is not believed, and a cold start follows.
        await fourth.suspend(new AbortController().signal);
        await subject.damage!(spec);
        const failed = await driver.resume(spec).then(() => null, (e) => e);
        expect(failed?.code).toBe("vmm.resume_failed");
        expect(driver.isSuspended(spec)).toBe(false);
        expect(await tracesOf(driver, spec)).toEqual([]);
        const fifth = await driver.start(spec);
        const guestFifth = await guestOf(fifth);
        const linesFifth = new Lines(guestFifth);
        await linesFifth.until("counting");
        await guestFifth.signal("SIGHUP");
        await linesFifth.until("count 1");

        // A host that restarts has no run folders, and with them no keys.
        await fifth.suspend(new AbortController().signal);
        rmSync(spec.runFolder, { recursive: true });
        expect(driver.isSuspended(spec)).toBe(false);
        expect((await driver.resume(spec).then(() => null, (e) => e))?.code).toBe("vmm.resume_failed");
        await driver.forget(spec);
        await cleaned(spec);
      },
      TEST_MS_MAX,
    );

    suspends(
      `forget() drops what suspend() saved, and a cold start does too${unlessSo}`,
      async () => {
        const spec = await world.spec(["count"]);
        const vm = await driver.start(spec);
        await (await guestOf(vm)).status({ waitMs: GUEST_WAIT_MS });
        await vm.suspend(new AbortController().signal);
        await driver.forget(spec);
        await driver.forget(spec);
        expect(driver.isSuspended(spec)).toBe(false);
        expect(readdirSync(spec.folder).filter((name) => name.startsWith("memory"))).toEqual([]);
        await cleaned(spec);
      },
      TEST_MS_MAX,
    );

    test("clean() ends a machine that runs", async () => {
      const spec = await world.spec(["serve"]);
      const vm = await driver.start(spec);
      await driver.clean(spec);
      await vm.exited;
      expect(identify(vm.pid)).toBeNull();
      expect(await tracesOf(driver, spec)).toEqual([]);
    }, TEST_MS_MAX);
  });
}

/** What a driver can do does not depend on the files of its guest. */
const NO_GUEST: WorkerConfig["guest"] = {
  kernel_file: "",
  initramfs_file: "",
  init_drive_file: "",
  init_folder: "",
};

/** A disk with room for a machine's console and not for its memory. */
async function smallDisk(folder: string) {
  await run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", folder]);
  return {
    grow: async () => void await run(["mount", "-o", "remount,size=400m", folder]),
    // Lazily, since the kernel closes a killed process's files a moment after its end shows.
    [Symbol.asyncDispose]: async () => void await run(["umount", "--lazy", folder]),
  };
}

export async function guestOf(vm: Vm): Promise<GuestClient> {
  return new GuestClient(await vm.openControl(AbortSignal.timeout(GUEST_WAIT_MS)));
}

/** Follows a guest's log. */
export class Lines {
  readonly seen: GuestLogLine[] = [];
  readonly #lines: AsyncIterator<GuestLogLine>;

  constructor(guest: GuestClient) {
    this.#lines = guest.logs()[Symbol.asyncIterator]();
  }

  async until(wanted: string): Promise<void> {
    while (!this.seen.some(({ line }) => line === wanted)) {
      const { value, done } = await this.#lines.next();
      if (done === true) throw new Error(`the log ended without "${wanted}": ${JSON.stringify(this.seen)}`);
      this.seen.push(value);
    }
  }
}

const LINK_INSIDE = {
  interface: "eth0",
  mtu: 1_500,
  address6: null,
  gateway6: null,
  nameservers: [],
  searches: [],
};

/** A link in the range for benchmarks (RFC 2544), which no real network uses. */
async function linkFor(subject: Subject) {
  const [a, b, c] = crypto.getRandomValues(new Uint8Array(3)) as unknown as [number, number, number];
  const host = `198.18.${a}.${b & 0xfe}`;
  const inside = `198.18.${a}.${b | 1}`;
  const name = `gwtest${c}${b}`;
  await subject.makeLink(name);
  await run(["ip", "address", "add", `${host}/31`, "dev", name]);
  await run(["ip", "link", "set", "dev", name, "up"]);
  const remove = async () => void await run(["ip", "link", "delete", name]);
  return { name, mac: "02:00:00:00:00:01", host, inside, [Symbol.asyncDispose]: remove };
}

/** The app's listener comes up a moment after the app. */
async function fetchUntilUp(url: string): Promise<string> {
  for (let tries = 0;; tries++) {
    try {
      return await (await fetch(url, { signal: AbortSignal.timeout(2_000) })).text();
    } catch (error) {
      if (tries === 50) throw error;
      await Bun.sleep(100);
    }
  }
}
