/**
 * Builds what every VM and container of Godwit starts from: kernel, initramfs, init drive. `folder` holds one folder a
 * hash of the inputs, complete or not there at all, so that a guest in use is never written to.
 */
import { chmod, link, mkdir, mkdtemp, readdir, rename, rm, stat, utimes } from "node:fs/promises";
import { join, resolve } from "node:path";
import { withFileLock } from "./file-lock.ts";
import { fillInitFolder, makeInitDrive } from "./init-drive.ts";
import { initramfs } from "./initramfs.ts";
import { provideBusybox } from "./busybox.ts";
import { exists } from "./debian-package.ts";
import { hashInputs } from "./inputs.ts";
import { type Kernel, kernelFile, provideKernel, vmlinuxFile } from "./kernel.ts";

const STAGE0 = resolve(import.meta.dir, "stage0.sh");
const GUESTS_KEPT_MAX = 3;
/** Other checkouts on this machine may share the folder: one that was asked for lately may be in use. */
const GUESTS_KEPT_MS = 3_600_000;
const GUEST_NAME = /^[0-9a-f]{16}$/;

export interface GuestFiles {
  /** Compressed (bzImage), for QEMU. */
  readonly kernelFile: string;
  /** Uncompressed ELF, for Firecracker. */
  readonly vmlinuxFile: string;
  readonly initramfsFile: string;
  /** erofs, `/dev/vda` of every VM. */
  readonly initDriveFile: string;
  /** The init drive's content, which a container gets as a read-only bind mount. */
  readonly initFolder: string;
  /** Of the inputs, 16 hexadecimal digits. */
  readonly hash: string;
}

const SHARED_MODE = 0o644;

export interface BuildOptions {
  readonly folder: string;
  /** Told of each step with its duration. */
  readonly onStep?: (line: string) => void;
}

/** @throws GodwitError `images.*`: a tool is missing or failed, the kernel cannot be fetched or used. */
export async function buildGuest({ folder, onStep = () => {} }: BuildOptions): Promise<GuestFiles> {
  await mkdir(folder, { recursive: true });
  return await withFileLock(join(folder, "lock"), async () => {
    const timed = timer(onStep);
    const kernel = await timed("kernel", () => provideKernel(join(folder, "kernel"), onStep));
    const busybox = await timed("busybox", () => provideBusybox(join(folder, "busybox"), onStep));
    const hash = await timed("inputs", () => hashInputs(kernel, busybox));
    const files = guestFiles(folder, hash);
    if (await exists(join(folder, hash))) {
      const now = new Date();
      await utimes(join(folder, hash), now, now);
      return files;
    }
    const work = await mkdtemp(join(folder, "work-"));
    try {
      await fill(work, kernel, busybox, timed);
      // VMMs read them as users of their own, whom the umask of this build may keep out. The folder keeps others out.
      const { kernelFile, vmlinuxFile, initramfsFile } = guestFiles(work, ".");
      for (const file of [kernelFile, vmlinuxFile, initramfsFile]) await chmod(file, SHARED_MODE);
      await rename(work, join(folder, hash));
    } finally {
      await rm(work, { recursive: true, force: true });
    }
    await dropOld(folder, hash);
    return files;
  });
}

type Timed = <T>(step: string, work: () => Promise<T>) => Promise<T>;

async function fill(work: string, kernel: Kernel, busybox: string, timed: Timed): Promise<void> {
  const files = guestFiles(work, ".");
  await link(kernelFile(kernel), files.kernelFile);
  await link(vmlinuxFile(kernel), files.vmlinuxFile);
  await timed("initramfs", async () => {
    await Bun.write(files.initramfsFile, await initramfs(kernel, busybox, STAGE0));
  });
  await timed("vm-init", () => fillInitFolder(files.initFolder));
  await timed("init drive", () => makeInitDrive(files.initFolder, files.initDriveFile));
}

function guestFiles(folder: string, hash: string): GuestFiles {
  const at = (name: string) => join(folder, hash, name);
  return {
    kernelFile: at("vmlinuz"),
    vmlinuxFile: at("vmlinux"),
    initramfsFile: at("initramfs.cpio"),
    initDriveFile: at("init.erofs"),
    initFolder: at("init"),
    hash,
  };
}

function timer(onStep: (line: string) => void): Timed {
  return async (step, work) => {
    const start = performance.now();
    const result = await work();
    onStep(`${step}: ${Math.round(performance.now() - start)} ms`);
    return result;
  };
}

async function dropOld(folder: string, keep: string): Promise<void> {
  const others = (await readdir(folder)).filter((name) => GUEST_NAME.test(name) && name !== keep);
  const aged = await Promise.all(
    others.map(async (name) => ({ name, at: (await stat(join(folder, name))).mtimeMs })),
  );
  const old = aged.sort((a, b) => b.at - a.at).slice(GUESTS_KEPT_MAX - 1)
    .filter(({ at }) => Date.now() - at > GUESTS_KEPT_MS);
  for (const { name } of old) await rm(join(folder, name), { recursive: true, force: true });
  // What a killed builder left; the lock says that nobody works in it.
  const broken = (await readdir(folder)).filter((name) => name.startsWith("work-"));
  for (const name of broken) await rm(join(folder, name), { recursive: true, force: true });
}
