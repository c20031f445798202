/** What a QEMU that runs can do to its host, and what of it it sees. One start, no boot waited for. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Vm, VmSpec } from "../driver.ts";
import { makeWorld, run, tracesOf, type World } from "../driver.fixture.ts";
import { uidOf } from "./qemu-arguments.ts";
import { QemuDriver } from "./qemu-driver.ts";

setDefaultTimeout(240_000);

let world: World;
let driver: QemuDriver;
let spec: VmSpec;
let vm: Vm;
const tap = `gwiso${crypto.randomUUID().slice(0, 6)}`;
beforeAll(async () => {
  world = await makeWorld();
  driver = new QemuDriver(world.guest);
  await run(["ip", "tuntap", "add", "dev", tap, "mode", "tap"]);
  await run(["ip", "link", "set", "dev", tap, "up"]);
  spec = await world.spec(["serve"], { link: { name: tap, mac: "02:00:00:00:00:01" } });
  vm = await driver.start(spec);
});
afterAll(async () => {
  await driver.clean(spec);
  expect(await tracesOf(driver, spec)).toEqual([]);
  await run(["ip", "link", "delete", tap]);
  world.remove();
});

const ofVm = (path: string) => `/proc/${vm.pid}/${path}`;
const mounts = () =>
  readFileSync(ofVm("mountinfo"), "utf8").trim().split("\n").map((line) => {
    const fields = line.split(" ");
    return { point: fields[4]!, options: fields[5]!.split(",") };
  });
const held = () => readdirSync(ofVm("fd")).map((fd) => readlinkSync(ofVm(`fd/${fd}`)));

test("QEMU runs as a user of its own without a group, without capabilities in any set, and gets none", () => {
  const status = readFileSync(ofVm("status"), "utf8");
  const valueOf = (name: string) => new RegExp(`^${name}:[ \\t]*(.*)$`, "m").exec(status)?.[1]?.trim();
  const uid = String(uidOf(spec.machineId));
  expect(valueOf("Uid")?.split("\t")).toEqual([uid, uid, uid, uid]);
  expect(valueOf("Gid")?.split("\t")).toEqual([uid, uid, uid, uid]);
  expect(valueOf("Groups")).toBe("");
  for (const set of ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]) {
    expect(`${set} ${valueOf(set)}`).toBe(`${set} 0000000000000000`);
  }
  expect(valueOf("NoNewPrivs")).toBe("1");
  expect(valueOf("Seccomp")).toBe("2");
  expect(readFileSync(ofVm("limits"), "utf8")).toMatch(/^Max core file size +0 +0 /m);
});

test("QEMU is in namespaces of its own, with a tap of the host's", () => {
  for (const kind of ["mnt", "net", "ipc", "uts"]) {
    expect(readlinkSync(ofVm(`ns/${kind}`))).not.toBe(readlinkSync(`/proc/self/ns/${kind}`));
  }
  const devices = readFileSync(ofVm("net/dev"), "utf8").trim().split("\n").slice(2);
  expect(devices.map((line) => line.trim().split(":")[0])).toEqual(["lo"]);
  expect(held()).toContain("/dev/net/tun");
  expect(readFileSync(`/sys/class/net/${tap}/carrier`, "utf8")).toBe("1\n");
});

test("QEMU sees its program, its libraries and the guest's kernel, and can write to none of them", () => {
  const root = ofVm("root");
  const seen = readdirSync(root).sort();
  expect(seen).toEqual(["dev", "etc", "initramfs", "kernel", "lib", "lib64", "usr"]);
  expect(readdirSync(join(root, "etc"))).toEqual(["ld.so.cache"]);
  expect(readdirSync(join(root, "dev")).filter((name) => name !== "kvm")).toEqual(["null"]);
  expect(statSync(join(root, "kernel")).size).toBe(statSync(world.guest.kernel_file).size);
  for (const hidden of [world.folder, spec.folder, spec.runFolder, "/proc", "/sys", "/tmp", "/etc/passwd"]) {
    expect(existsSync(hidden) && existsSync(join(root, hidden))).toBe(false);
    expect(existsSync(hidden)).toBe(true);
  }
  const writable = mounts().filter((mount) => !mount.options.includes("ro"));
  expect(writable.map(({ point }) => point)).toEqual(["/", "/dev"]);
  for (const folder of ["", "dev", "etc"]) {
    const { uid, mode } = statSync(join(root, folder));
    expect({ uid, mode: (mode & 0o7777).toString(8) }).toEqual({ uid: 0, mode: "755" });
  }
});

test("QEMU holds no file of another machine, and its environment is not the agent's", () => {
  const files = held().filter((file) => file.startsWith("/") && !file.startsWith("/dev/"));
  const allowed = [world.guest.init_drive_file, spec.imageFile, `${spec.folder}/`, `${spec.runFolder}/`];
  expect(files.filter((file) => !allowed.some((begin) => file.startsWith(begin)))).toEqual([]);
  expect(files).toContain(spec.layerFile);
  const names = readFileSync(ofVm("environ"), "utf8").split("\0").map((entry) => entry.split("=")[0]);
  expect(names.sort()).toEqual(["", "LC_ALL", "PATH"]);
});

test("the host sees no mount of a QEMU's, and QEMU keeps none of the host's busy", () => {
  expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(spec.runFolder);
  const ours = /^\/(|dev|usr(\/.*)?|etc\/ld\.so\.cache|kernel|initramfs)$/;
  expect(mounts().filter(({ point }) => !ours.test(point))).toEqual([]);
});
