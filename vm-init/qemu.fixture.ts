/** Boots one real VM for a test: image and layer drives made from a folder, the control port as an HTTP/2 session. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CONTROL_PORT_NAME } from "../control/contract/guest-limits.ts";
import type { RunConfig } from "../control/contract/run-config.ts";
import { testGuest } from "../deploy/images/testbed.ts";
import { run } from "./image.fixture.ts";
import { GuestSession } from "./session.fixture.ts";

const SECTOR_BYTES = 512;
const STAGE0_WAIT_MS = 60_000;
const STAGE0_POLL_MS = 50;
const CMDLINE = "console=ttyS0 panic=-1 reboot=t quiet tsc_early_khz=2500000 tsc=unstable";

export interface TestVm {
  readonly session: GuestSession;
  readonly exited: Promise<number>;
  console(): string;
  /** The machine's own drive, an ext4 file. */
  readonly layerFile: string;
  /** The one volume of a machine whose run configuration lists one. */
  readonly volumeFile: string;
  /** A new connection to the control port, once the old one is closed. */
  connect(): Promise<GuestSession>;
  stop(): Promise<void>;
}

/** microvm shows its devices over virtio-mmio, q35 over PCI. */
export type Machine = "microvm" | "q35";

const MACHINES: Record<Machine, { readonly type: string; readonly suffix: string }> = {
  microvm: { type: "microvm,acpi=on,rtc=on", suffix: "device" },
  q35: { type: "q35", suffix: "pci" },
};

export async function bootVm(
  machine: Machine,
  config: RunConfig,
  root: (folder: string) => string,
): Promise<TestVm> {
  const { type, suffix } = MACHINES[machine];
  const guest = await testGuest();
  const folder = mkdtempSync(join(tmpdir(), "godwit-vm-"));
  const at = (name: string) => join(folder, name);
  run(["mkfs.erofs", "--all-root", at("image"), root(folder)]);
  run(["truncate", "-s", "64M", at("layer")]);
  run(["mkfs.ext4", "-q", "-F", at("layer")]);
  run(["truncate", "-s", "16M", at("volume")]);
  run(["mkfs.ext4", "-q", "-F", at("volume")]);
  const json = Buffer.from(JSON.stringify(config));
  writeFileSync(at("config"), Buffer.concat([json, Buffer.alloc(SECTOR_BYTES - json.length % SECTOR_BYTES)]));
  const drive = (id: string, file: string, readOnly: boolean) => [
    "-drive",
    `id=${id},file=${file},format=raw,if=none,readonly=${readOnly ? "on" : "off"}`,
    "-device",
    `virtio-blk-${suffix},drive=${id}`,
  ];
  const start = () =>
    Bun.spawn([
      ...["qemu-system-x86_64", "-M", type, "-accel", "tcg,thread=multi", "-cpu", "max"],
      ...["-m", "256", "-nodefaults", "-no-user-config", "-nographic", "-no-reboot"],
      ...["-kernel", guest.kernelFile, "-initrd", guest.initramfsFile, "-append", CMDLINE],
      ...["-serial", `file:${at("console")}`],
      ...drive("init", guest.initDriveFile, true),
      ...drive("image", at("image"), true),
      ...drive("layer", at("layer"), false),
      ...drive("config", at("config"), true),
      ...(config.volumes === undefined ? [] : drive("volume", at("volume"), false)),
      // QEMU's own network without a way out: enough for the interface, its addresses and its neighbour 10.0.2.2.
      ...["-netdev", "user,id=net,restrict=on", "-device", `virtio-net-${suffix},netdev=net`],
      ...["-device", `virtio-serial-${suffix}`],
      ...["-chardev", `socket,id=control,path=${at("control.sock")},server=on,wait=off`],
      ...["-device", `virtserialport,chardev=control,name=${CONTROL_PORT_NAME}`],
    ], { stdin: "ignore", stdout: "inherit", stderr: "inherit" });
  let qemu = start();
  if (!await saysStage0(at("console"), qemu.exited)) {
    // Linux 6.1 may hang while it calibrates the clock of a microvm under TCG; once more is enough.
    console.warn(`a ${machine} said nothing in ${STAGE0_WAIT_MS} ms, booting it again`);
    qemu.kill("SIGKILL");
    await qemu.exited;
    qemu = start();
  }
  const connect = () => GuestSession.connect(at("control.sock"));
  return {
    session: await connect(),
    layerFile: at("layer"),
    volumeFile: at("volume"),
    exited: qemu.exited,
    console: () => readFileSync(at("console"), "latin1"),
    connect,
    stop: async () => {
      qemu.kill("SIGKILL");
      await qemu.exited;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** False where the guest's first word does not come in time. */
async function saysStage0(file: string, exited: Promise<number>): Promise<boolean> {
  const deadline = performance.now() + STAGE0_WAIT_MS;
  let gone = false;
  void exited.then(() => gone = true);
  while (!gone && performance.now() < deadline) {
    if (existsSync(file) && readFileSync(file, "latin1").includes("godwit-stage0")) return true;
    await Bun.sleep(STAGE0_POLL_MS);
  }
  return gone;
}
