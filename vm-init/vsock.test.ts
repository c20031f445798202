/**
 * vm-init's control port on vsock, as on Firecracker. No VMM here gives a guest a vsock device, so the guest loads the
 * kernel's loopback and speaks to itself: the same sockets and the same server, another transport below them.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { cpioArchive } from "../deploy/images/cpio.ts";
import { parseLibraries } from "../deploy/images/init-drive.ts";
import { moduleFile, provideKernel } from "../deploy/images/kernel.ts";
import { DEVICE_MODULES, moduleOrder, TEST_MODULES } from "../deploy/images/modules.ts";
import { testGuest, testGuestFolder } from "../deploy/images/testbed.ts";
import { runConfig } from "./config.fixture.ts";
import { makeImage, run } from "./image.fixture.ts";

const SECTOR_BYTES = 512;
const BOOT_MS_MAX = 120_000;
const TEST_MS_MAX = 300_000;
const CMDLINE = "console=ttyS0 panic=-1 reboot=t quiet";

let folder: string;
beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), "godwit-vsock-"))));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string) => join(folder, name);

/** busybox, the client, and the C library that it wants at its usual places. */
function makeDrive(): void {
  const program = at("vsock-client");
  const source = join(import.meta.dir, "vsock-client.fixture.ts");
  run([process.execPath, "build", "--compile", "--minify", source, "--outfile", program]);
  const root = makeImage(folder, {}, ["sh"]);
  for (const file of [program, ...parseLibraries(run(["ldd", program]))]) {
    const target = join(root, file === program ? "bin/vsock-client" : file);
    mkdirSync(dirname(target), { recursive: true });
    copyFileSync(file, target);
    chmodSync(target, 0o755);
  }
  run(["mkfs.erofs", "--all-root", at("image"), root]);
}

/** The guest's own, with a second archive behind it whose files come over those of the first. */
async function makeInitramfs(file: string): Promise<void> {
  const kernel = await provideKernel(join(testGuestFolder(), "kernel"), () => {});
  const vsock = DEVICE_MODULES["0x0013"]!.filter((module) => module !== "vmw_vsock_virtio_transport");
  const order = [...moduleOrder("pci"), ...vsock, ...TEST_MODULES];
  const more = cpioArchive([
    ...TEST_MODULES.map((module) => ({
      path: `modules/${module}.ko`,
      type: "file" as const,
      mode: 0o644,
      data: readFileSync(moduleFile(kernel, module)),
    })),
    { path: "modules/order.pci", type: "file", mode: 0o644, data: Buffer.from(`${order.join("\n")}\n`) },
  ]);
  writeFileSync(at("initramfs"), Buffer.concat([readFileSync(file), more]));
}

test("vm-init answers on its vsock port where it finds vsock, one connection after the other", async () => {
  const guest = await testGuest();
  await makeInitramfs(guest.initramfsFile);
  makeDrive();
  run(["truncate", "-s", "64M", at("layer")]);
  run(["mkfs.ext4", "-q", "-F", at("layer")]);
  const json = Buffer.from(JSON.stringify(runConfig("vm", { cmd: ["/bin/vsock-client"] })));
  writeFileSync(at("config"), Buffer.concat([json, Buffer.alloc(SECTOR_BYTES - json.length % SECTOR_BYTES)]));
  const drives: [string, boolean][] = [
    [guest.initDriveFile, true],
    [at("image"), true],
    [at("layer"), false],
    [at("config"), true],
  ];
  const qemu = Bun.spawn([
    ...["qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "512"],
    ...["-nodefaults", "-no-user-config", "-nographic", "-no-reboot"],
    ...["-kernel", guest.kernelFile, "-initrd", at("initramfs"), "-append", CMDLINE],
    ...["-serial", `file:${at("console")}`],
    ...["-device", "virtio-rng-pci", "-device", "virtio-balloon-pci"],
    ...drives.flatMap(([file, readOnly], index) => [
      ...["-drive", `id=d${index},file=${file},format=raw,if=none,readonly=${readOnly ? "on" : "off"}`],
      ...["-device", `virtio-blk-pci,drive=d${index}`],
    ]),
  ], { stdin: "ignore", stdout: "inherit", stderr: "inherit", timeout: BOOT_MS_MAX, killSignal: "SIGKILL" });
  expect(await qemu.exited).toBe(0);
  const console = readFileSync(at("console"), "latin1");
  expect(console).not.toContain("vsock-test failed");
  expect(console).toMatch(/vsock-test first: \{"phase":"running","pid":\d+\}/);
  expect(console).toMatch(/vsock-test second: \{"phase":"running","pid":\d+\}/);
}, TEST_MS_MAX);
