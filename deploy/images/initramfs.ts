/** The initramfs: busybox, the modules, stage 0. Not compressed: at 3 MB no form was measurably faster (README). */
import { cpioArchive, type CpioEntry } from "./cpio.ts";
import { type Kernel, moduleFile } from "./kernel.ts";
import { BUSES, DEVICE_MODULES, moduleOrder, MODULES } from "./modules.ts";

const FOLDERS = ["bin", "dev", "proc", "sys", "run", "modules", ".godwit", ".godwit/init"];

export async function initramfs(kernel: Kernel, busybox: string, stage0: string): Promise<Uint8Array> {
  const file = async (path: string, mode: number, from: string): Promise<CpioEntry> => ({
    path,
    type: "file",
    mode,
    data: await Bun.file(from).bytes(),
  });
  const order = (name: string, modules: readonly string[]): CpioEntry => ({
    path: `modules/order.${name}`,
    type: "file",
    mode: 0o644,
    data: Buffer.from(modules.join("\n") + "\n"),
  });
  const orders = [
    ...BUSES.map((bus) => order(bus, moduleOrder(bus))),
    ...Object.entries(DEVICE_MODULES).map(([device, modules]) => order(device, modules)),
  ];
  return cpioArchive([
    ...FOLDERS.map((path): CpioEntry => ({ path, type: "folder", mode: 0o755 })),
    await file("init", 0o755, stage0),
    await file("bin/busybox", 0o755, busybox),
    ...orders,
    ...await Promise.all(MODULES.map((name) => file(`modules/${name}.ko`, 0o644, moduleFile(kernel, name)))),
  ]);
}
