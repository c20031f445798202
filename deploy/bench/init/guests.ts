/**
 * The two guests that are compared: the same kernel, modules, machine and drives. Ours starts stage 0 and vm-init; the
 * peer's initramfs has a shell script in stage 0's place that does the same things.
 */
import { chmodSync, copyFileSync, mkdirSync, symlinkSync } from "node:fs";
import { join, resolve } from "node:path";
import type { RunConfig } from "../../../control/contract/run-config.ts";
import { buildGuest } from "../../images/build.ts";
import { provideBusybox } from "../../images/busybox.ts";
import { fillInitFolder, makeInitDrive } from "../../images/init-drive.ts";
import { initramfs } from "../../images/initramfs.ts";
import { provideKernel } from "../../images/kernel.ts";
import { runTool } from "../../images/run-tool.ts";
import { testGuestFolder } from "../../images/testbed.ts";

const SECTOR_BYTES = 512;
const LAYER_MB = 64;
const at = (name: string) => resolve(import.meta.dir, name);

export interface Guests {
  readonly kernelFile: string;
  readonly initramfsFiles: { readonly "vm-init": string; readonly busybox: string };
  /** In the order of their letters, from `vda` on: init, image, layer, run configuration, one start of Bun. */
  readonly drives: readonly { readonly file: string; readonly readOnly: boolean }[];
  /** Makes the layer anew: each boot begins with an empty one. */
  renewLayer(): Promise<void>;
}

/** Makes all files below `folder`, which the caller removes. */
export async function prepareGuests(folder: string, say: (line: string) => void): Promise<Guests> {
  const cache = testGuestFolder();
  const guest = await buildGuest({ folder: cache, onStep: say });
  const kernel = await provideKernel(join(cache, "kernel"), say);
  const busybox = await provideBusybox(join(cache, "busybox"), say);
  const file = (name: string) => join(folder, name);

  await Bun.write(file("peer.cpio"), await initramfs(kernel, busybox, at("busybox-init.sh")));
  await makeImage(folder, busybox);
  await fillInitFolder(file("bun"), at("bun-start.ts"));
  await makeInitDrive(file("bun"), file("bun.erofs"));
  const json = Buffer.from(JSON.stringify(runConfig()));
  await Bun.write(
    file("config"),
    Buffer.concat([json, Buffer.alloc(SECTOR_BYTES - json.length % SECTOR_BYTES)]),
  );
  return {
    kernelFile: guest.kernelFile,
    initramfsFiles: { "vm-init": guest.initramfsFile, busybox: file("peer.cpio") },
    drives: [
      { file: guest.initDriveFile, readOnly: true },
      { file: file("image.erofs"), readOnly: true },
      { file: file("layer"), readOnly: false },
      { file: file("config"), readOnly: true },
      { file: file("bun.erofs"), readOnly: true },
    ],
    renewLayer: async () => {
      await runTool(["truncate", "-s", "0", file("layer")]);
      await runTool(["truncate", "-s", `${LAYER_MB}M`, file("layer")]);
      await runTool(["mkfs.ext4", "-q", "-F", file("layer")]);
    },
  };
}

async function makeImage(folder: string, busybox: string): Promise<void> {
  const root = join(folder, "image");
  mkdirSync(join(root, "bin"), { recursive: true });
  mkdirSync(join(root, "etc"));
  copyFileSync(busybox, join(root, "bin/busybox"));
  chmodSync(join(root, "bin/busybox"), 0o755);
  for (const applet of ["sh", "sleep"]) symlinkSync("busybox", join(root, "bin", applet));
  copyFileSync(at("measure-app.sh"), join(root, "bin/app"));
  chmodSync(join(root, "bin/app"), 0o755);
  await runTool(["mkfs.erofs", "--all-root", join(folder, "image.erofs"), root]);
}

/** What `busybox-init.sh` does by heart. */
function runConfig(): RunConfig {
  return {
    schema: 1,
    mode: "vm",
    machine_id: "00000000000001",
    app_name: "bench",
    region: "dev",
    hostname: "00000000000001",
    image: { entrypoint: ["/bin/app"], cmd: [], env: [], working_dir: "", user: "", stop_signal: null },
    entrypoint: null,
    command: null,
    env: {},
    host_clock_ms: Date.now(),
    network: {
      interface: "eth0",
      mtu: 1_420,
      address4: "10.0.2.15/31",
      gateway4: "10.0.2.2",
      address6: "fd00::15/64",
      gateway6: null,
      nameservers: ["10.0.2.3"],
      searches: [],
    },
    hosts: [],
    stop: { signal: "SIGTERM", timeout_s: 5 },
    limits: { nofile: 10_240 },
  };
}
