/**
 * What stands behind the fake's devices: a container with the real vm-init, made from the drives in the jail. A process of
 * its own in a mount namespace of its own, as root, since the fake itself has neither rights nor host left. It takes one
 * command a line on stdin. When stdin ends its fake is gone, and the container goes with it, as a VM's memory does; except
 * one that was saved: that one stays frozen until it is loaded, or until another boots from its layer.
 */
import {
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import net from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { z } from "zod";
import { messageOf } from "../../../../contract/errors.ts";
import { RunConfig } from "../../../../contract/run-config.ts";
import { consoleFile } from "../../console-file.ts";
import { tryConnect } from "../../control-stream.ts";
import type { Vm, VmSpec } from "../../driver.ts";
import { hostCommand } from "../../host-command.ts";
import { identify, isAlive } from "../../host-process.ts";
import { RuncDriver } from "../../runc/runc-driver.ts";
import { runcPaths } from "../../runc/runc-paths.ts";
import { IN_JAIL } from "../requests.ts";
import { bridgeStreams, settled } from "./bridge.fixture.ts";
import { openTaps, pump } from "./tap-pump.fixture.ts";

const PREFIX = "gwfa4e00";
const CONSOLE_FD = 3;
const POLL_MS = 20;
const LAYER_WAIT_MS = 30_000;

const Command = z.object({
  id: z.number(),
  do: z.enum(["boot", "pause", "resume", "hold", "load"]),
  root: z.string().optional(),
  user: z.number().optional(),
  cpus: z.number().optional(),
  memory_mib: z.number().optional(),
  tap: z.string().nullable().optional(),
  mac: z.string().nullable().optional(),
  handle: z.string().optional(),
});
type Command = z.infer<typeof Command>;

interface Inner {
  readonly spec: VmSpec;
  /** Of the file that is its layer. */
  readonly layer: string;
  readonly tap: string | null;
  readonly keeper: { readonly pid: number; readonly start_time: string };
}

const world = process.argv[2]!;
let inner: Inner | null = null;
let driver: RuncDriver;
let vm: Vm | null = null;
let held = false;
let ending = false;

const say = (message: Record<string, unknown>) => process.stdout.write(`${JSON.stringify(message)}\n`);

async function run(command: Command): Promise<Record<string, unknown>> {
  if (command.do === "boot") return await boot(command);
  if (command.do === "load") return await load(command);
  if (command.do === "hold") held = true;
  if (command.do === "pause") await runc("pause");
  if (command.do === "resume") {
    held = false;
    await runc("resume");
  }
  return { handle: inner!.spec.machineId };
}

async function boot(command: Command): Promise<Record<string, unknown>> {
  const root = command.root!;
  const layerFile = join(root, IN_JAIL.layer);
  const { dev, ino } = statSync(layerFile);
  const layer = `${dev}:${ino}`;
  await freeLayer(layer);
  const machineId = Buffer.from(crypto.getRandomValues(new Uint8Array(7))).toString("hex");
  const folder = join(world, machineId);
  mkdirSync(folder, { mode: 0o700 });
  symlinkSync(`/proc/self/fd/${CONSOLE_FD}`, consoleFile(folder));
  const json = readFileSync(join(root, IN_JAIL.config)).toString("utf8").replace(/\0+$/, "");
  const spec: VmSpec = {
    machineId,
    folder,
    runFolder: join(folder, "run"),
    prefix: PREFIX,
    guest: {
      cpu_kind: "shared",
      cpus: command.cpus as VmSpec["guest"]["cpus"],
      memory_mb: command.memory_mib!,
    },
    imageFile: join(root, IN_JAIL.image),
    layerFile,
    link: null,
    rates: { diskIops: null, diskBytesPerS: null, networkBytesPerS: null },
    attempt: 0,
    runConfig: RunConfig.parse(JSON.parse(json)),
  };
  remember({ spec, layer, tap: command.tap ?? null, keeper: identify(process.pid)! });
  driver = new RuncDriver({ init_folder: await mountInit(root, folder) });
  vm = await driver.start(spec);
  const netns = `/run/netns/${runcPaths(spec).kernelName}`;
  await connectNetwork(command.tap ?? null, netns, command.mac ?? null);
  follow(root, command.user!);
  return {};
}

/** A container that was held goes on where it stood; its drives and its namespaces are its own. */
async function load(command: Command): Promise<Record<string, unknown>> {
  const file = join(world, command.handle!, "inner.json");
  if (!existsSync(file)) throw new Error(`there is no memory ${command.handle}`);
  const saved = JSON.parse(readFileSync(file, "utf8")) as Inner;
  remember({ ...saved, tap: command.tap ?? saved.tap, keeper: identify(process.pid)! });
  driver = new RuncDriver({ init_folder: "/" });
  vm = await driver.adopt(saved.spec);
  if (vm === null) throw new Error(`the container of memory ${command.handle} is gone`);
  await connectNetwork(inner!.tap, `/proc/${vm.pid}/ns/net`, null);
  follow(command.root!, command.user!);
  return {};
}

function remember(value: Inner): void {
  inner = value;
  writeFileSync(join(value.spec.folder, "inner.json"), JSON.stringify(value), { mode: 0o600 });
}

/** Of a VM whose process is gone its container may still be going; and one that is held has lost its place. */
async function freeLayer(layer: string): Promise<void> {
  for (const name of readdirSync(world)) {
    const file = join(world, name, "inner.json");
    let other: Inner;
    try {
      other = JSON.parse(readFileSync(file, "utf8")) as Inner;
    } catch {
      continue; // Gone, or not yet written.
    }
    if (other.layer !== layer) continue;
    await keeperGone(other);
    if (existsSync(file)) await remove(other);
  }
}

export async function keeperGone(other: Inner): Promise<void> {
  for (const begun = performance.now(); isAlive(other.keeper);) {
    if (performance.now() - begun > LAYER_WAIT_MS) throw new Error(`${other.spec.machineId} does not end`);
    await Bun.sleep(POLL_MS);
  }
}

export async function remove(other: Inner): Promise<void> {
  const state = runcPaths(other.spec).state;
  // What is frozen does not die.
  await hostCommand(["runc", "--root", state, "resume", other.spec.machineId], { purpose: "thaw" }).catch(
    () => {},
  );
  await new RuncDriver({ init_folder: "/" }).clean(other.spec);
  const { folder } = other.spec;
  // Of another's mount namespace nothing is mounted here.
  await hostCommand(["umount", join(folder, "init")], { purpose: "free the init drive" }).catch(() => {});
  if (existsSync(join(folder, "init"))) rmdirSync(join(folder, "init"));
  for (const name of readdirSync(folder)) rmSync(join(folder, name));
  rmdirSync(folder);
}

/** The drive that a VM's initramfs would mount. */
async function mountInit(root: string, folder: string): Promise<string> {
  const point = join(folder, "init");
  mkdirSync(point);
  await hostCommand(["mount", "-o", "loop,ro", join(root, IN_JAIL.init), point], {
    purpose: "mount the init drive",
  });
  return point;
}

async function connectNetwork(tap: string | null, netns: string, mac: string | null): Promise<void> {
  if (tap === null) return;
  const { outside, inside } = openTaps(tap, netns, "eth0");
  if (mac !== null) {
    const command: [string, ...string[]] = ["nsenter", `--net=${netns}`, "ip", "link", "set", "dev", "eth0"];
    await hostCommand([...command, "address", mac], { purpose: "give the guest its address" });
  }
  pump(outside, inside);
  pump(inside, outside);
}

/** The vsock port: a socket in the jail that leads to vm-init's, closed at once where vm-init does not listen yet. */
function follow(root: string, user: number): void {
  const bridge = join(root, ".guest.sock");
  const { controlSocket } = runcPaths(inner!.spec);
  const server = net.createServer((front) => {
    front.on("error", () => {});
    void tryConnect(controlSocket).then((behind) => {
      if (behind === null) return front.destroy();
      // The first byte says that there is somebody.
      front.write("+");
      bridgeStreams(front, behind);
    }, () => front.destroy());
  });
  server.listen(bridge, () => chownSync(bridge, user, user));
  void vm!.exited.then(async () => {
    if (ending) return;
    ending = true;
    await settled();
    await remove(inner!);
    say({ exited: true });
    process.exit(0);
  });
}

async function runc(what: "pause" | "resume"): Promise<void> {
  const state = runcPaths(inner!.spec).state;
  await hostCommand(["runc", "--root", state, what, inner!.spec.machineId], {
    purpose: `${what} the container`,
  });
}

async function end(): Promise<void> {
  if (ending) return;
  ending = true;
  if (inner !== null && !held) await remove(inner);
  process.exit(0);
}

/** One at a time, in order; the end too, so that nothing is left half made. */
async function serve(): Promise<void> {
  for await (const line of createInterface({ input: process.stdin })) {
    const command = Command.parse(JSON.parse(line));
    try {
      say({ id: command.id, ...await run(command) });
    } catch (error) {
      say({ id: command.id, error: messageOf(error) });
    }
  }
  await end();
}

if (import.meta.main) await serve();
