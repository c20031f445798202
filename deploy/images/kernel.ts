/**
 * The guest's kernel: Debian's linux-image-cloud-amd64, fetched with apt but never installed, since installing would
 * make it a boot kernel of the host. Unpacked once a package version.
 */
import { copyFile, mkdir, mkdtemp, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { GodwitError, messageOf } from "../../control/contract/errors.ts";
import { runTool } from "./run-tool.ts";
import { MODULES } from "./modules.ts";
import { extractVmlinux } from "./vmlinux.ts";

const META_PACKAGE = "linux-image-cloud-amd64";
const KERNELS_KEPT_MAX = 2;

export interface KernelPackage {
  /** `linux-image-6.1.0-56-cloud-amd64` */
  readonly name: string;
  readonly version: string;
}

export interface Kernel {
  readonly id: string;
  readonly folder: string;
}

export const kernelFile = (kernel: Kernel) => join(kernel.folder, "vmlinuz");
export const vmlinuxFile = (kernel: Kernel) => join(kernel.folder, "vmlinux");
export const moduleFile = (kernel: Kernel, module: string) => join(kernel.folder, "modules", `${module}.ko`);

/** `Depends: linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-2)` of the meta package. */
export function parseKernelPackage(shown: string): KernelPackage | null {
  const match = /^Depends:.*?\b(linux-image-[a-z0-9.+-]+) \(= ([^)\s]+)\)/m.exec(shown);
  return match === null ? null : { name: match[1]!, version: match[2]! };
}

/** The kernel that apt would install now, from the cache below `folder` or the network. */
export async function provideKernel(folder: string, onStep: (line: string) => void): Promise<Kernel> {
  if (process.arch !== "x64") {
    throw new GodwitError(
      "images.wrong_architecture",
      `Cannot build a guest for ${process.arch}: only x64 works`,
      {
        fault: "us",
      },
    );
  }
  await mkdir(folder, { recursive: true });
  let known: KernelPackage;
  try {
    known = await findPackage(onStep);
  } catch (error) {
    const cached = (await readdir(folder)).filter((name) => name.startsWith("linux-image-")).sort().at(-1);
    if (cached === undefined) throw error;
    onStep(`apt does not know the kernel (${messageOf(error)}); going on with ${cached}`);
    return { id: cached, folder: join(folder, cached) };
  }
  const id = `${known.name}_${known.version.replaceAll(":", "%3a")}`;
  const kernel = { id, folder: join(folder, id) };
  if (await exists(kernel.folder)) return kernel;
  const work = await mkdtemp(join(folder, "work-"));
  try {
    await download(known, work, onStep);
    await unpack(known, work, join(work, "kernel"));
    await rename(join(work, "kernel"), kernel.folder);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  await dropOld(folder, id);
  return kernel;
}

async function findPackage(onStep: (line: string) => void): Promise<KernelPackage> {
  const show = async () => {
    try {
      return parseKernelPackage(await runTool(["apt-cache", "show", "--no-all-versions", META_PACKAGE]));
    } catch (error) {
      // apt-cache fails where it has no lists; then there are some to fetch.
      if (error instanceof GodwitError && error.code === "images.tool_failed") return null;
      throw error;
    }
  };
  const known = await show();
  if (known !== null) return known;
  await updateLists(onStep);
  const found = await show();
  if (found !== null) return found;
  throw new GodwitError("images.kernel_unknown", `Cannot find Debian's package ${META_PACKAGE} with apt`, {
    fault: "us",
    hint: "give apt a Debian bookworm source (main), then run it again",
  });
}

async function updateLists(onStep: (line: string) => void): Promise<void> {
  onStep("fetching apt's package lists");
  await network(() => runTool(["apt-get", "update", "-q"]));
}

async function download(known: KernelPackage, work: string, onStep: (line: string) => void): Promise<void> {
  onStep(`fetching ${known.name} ${known.version}`);
  // As root itself: the user _apt cannot reach into the folders of root.
  const fetch = () =>
    runTool(
      ["apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", `${known.name}=${known.version}`],
      {
        cwd: work,
      },
    );
  try {
    await fetch();
  } catch {
    // The lists may be older than the mirror: once more with fresh ones, and that failure counts.
    await updateLists(onStep);
    await network(fetch);
  }
}

async function network(work: () => Promise<string>): Promise<void> {
  try {
    await work();
  } catch (error) {
    throw new GodwitError("images.download_failed", `Cannot fetch the guest's kernel: ${messageOf(error)}`, {
      fault: "us",
      retryable: true,
      hint: "check that apt reaches its mirrors: apt-get update",
      cause: error,
    });
  }
}

async function unpack(known: KernelPackage, work: string, target: string): Promise<void> {
  const deb = (await readdir(work)).find((name) => name.endsWith(".deb"));
  if (deb === undefined) {
    throw new GodwitError("images.download_failed", `Cannot find the .deb of ${known.name}`, { fault: "us" });
  }
  const tree = join(work, "tree");
  await runTool(["dpkg-deb", "-x", join(work, deb), tree]);
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
  for (const module of MODULES) {
    const file = found.get(module);
    if (file === undefined) {
      throw new GodwitError("images.kernel_unusable", `Cannot find the module ${module} in ${known.name}`, {
        fault: "us",
      });
    }
    await copyFile(file, join(target, "modules", `${module}.ko`));
  }
}

async function dropOld(folder: string, keep: string): Promise<void> {
  const names = await readdir(folder);
  // What a killed builder left; the caller's lock says that nobody works in it.
  for (const name of names.filter((name) => name.startsWith("work-"))) {
    await rm(join(folder, name), { recursive: true, force: true });
  }
  const others = names.filter((name) => name.startsWith("linux-image-") && name !== keep);
  const aged = await Promise.all(
    others.map(async (name) => ({ name, at: (await stat(join(folder, name))).mtimeMs })),
  );
  const old = aged.sort((a, b) => b.at - a.at).slice(KERNELS_KEPT_MAX - 1);
  for (const { name } of old) await rm(join(folder, name), { recursive: true, force: true });
}

export async function exists(path: string): Promise<boolean> {
  return await stat(path).then(() => true, () => false);
}
