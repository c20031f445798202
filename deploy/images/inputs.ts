/** What a guest is built from, as one hash: the same inputs are never built twice. */
import { basename, dirname, join, relative, resolve } from "node:path";
import type { Kernel } from "./kernel.ts";

const ROOT = resolve(import.meta.dir, "../..");
const SOURCES = ["vm-init/**/*.ts", "control/contract/guest-limits.ts", "deploy/images/{stage0.sh,*.ts}"];
const HASH_DIGITS = 16;

export async function hashInputs(kernel: Kernel, busybox: string): Promise<string> {
  const hash = new Bun.CryptoHasher("sha256");
  hash.update(`bun ${Bun.version}\nkernel ${kernel.id}\nbusybox ${basename(dirname(busybox))}\n`);
  const files: string[] = [];
  for (const pattern of SOURCES) {
    for await (const file of new Bun.Glob(pattern).scan({ cwd: ROOT })) files.push(join(ROOT, file));
  }
  for (const file of files.filter((name) => !/\.(test|fixture)\.ts$/.test(name)).sort()) {
    hash.update(`${relative(ROOT, file)}\n`);
    hash.update(await Bun.file(file).bytes());
  }
  return hash.digest("hex").slice(0, HASH_DIGITS);
}
