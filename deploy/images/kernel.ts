/** The guest's kernel: Debian's linux-image-cloud-amd64, with the modules that the initramfs loads. */
import { copyFile, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { GodwitError } from "../../control/contract/errors.ts";
import { type DebianPackage, type Provided, providePackage } from "./debian-package.ts";
import { MODULES, TEST_MODULES } from "./modules.ts";
import { extractVmlinux } from "./vmlinux.ts";

const META_PACKAGE = "linux-image-cloud-amd64";

export type Kernel = Provided;

export const kernelFile = (kernel: Kernel) => join(kernel.folder, "vmlinuz");
export const vmlinuxFile = (kernel: Kernel) => join(kernel.folder, "vmlinux");
export const moduleFile = (kernel: Kernel, module: string) => join(kernel.folder, "modules", `${module}.ko`);

/** `Depends: linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-2)` of the meta package. */
export function parseKernelPackage(shown: string): DebianPackage | null {
  const match = /^Depends:.*?\b(linux-image-[a-z0-9.+-]+) \(= ([^)\s]+)\)/m.exec(shown);
  return match === null ? null : { name: match[1]!, version: match[2]! };
}

/** The kernel that apt would install now. */
export async function provideKernel(folder: string, onStep: (line: string) => void): Promise<Kernel> {
  if (process.arch !== "x64") {
    throw new GodwitError(
      "images.wrong_architecture",
      `Cannot build a guest for ${process.arch}: only x64 works`,
      { fault: "us" },
    );
  }
  return await providePackage(folder, {
    ask: META_PACKAGE,
    read: parseKernelPackage,
    prefix: "linux-image-",
    variant: Bun.hash([...MODULES, ...TEST_MODULES].join()).toString(16),
    keep: keepKernel,
  }, onStep);
}

async function keepKernel(known: DebianPackage, tree: string, target: string): Promise<void> {
  await mkdir(join(target, "modules"), { recursive: true });
  const release = known.name.replace("linux-image-", "");
  const vmlinuz = join(tree, "boot", `vmlinuz-${release}`);
  await copyFile(vmlinuz, join(target, "vmlinuz"));
  await Bun.write(join(target, "vmlinux"), extractVmlinux(await Bun.file(vmlinuz).bytes(), vmlinuz));
  const found = new Map<string, string>();
  const modules = join(tree, "lib/modules", release, "kernel");
  for await (const file of new Bun.Glob("**/*.ko").scan({ cwd: modules })) {
    found.set(file.split("/").at(-1)!.replace(/\.ko$/, ""), join(modules, file));
  }
  for (const module of [...MODULES, ...TEST_MODULES]) {
    const file = found.get(module);
    if (file === undefined) {
      throw new GodwitError("images.kernel_unusable", `Cannot find the module ${module} in ${known.name}`, {
        fault: "us",
      });
    }
    await copyFile(file, join(target, "modules", `${module}.ko`));
  }
}
