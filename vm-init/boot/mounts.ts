/** Step mounts: the kernel's filesystems, beside /proc, /sys and /dev, which stage 0 had to mount. */
import { existsSync, mkdirSync, symlinkSync } from "node:fs";
import type { RunConfig } from "../../control/contract/run-config.ts";
import { codeOf } from "../system/error.ts";
import { type Mount, mount, MountFlag } from "../system/mount.ts";

const { noSuid, noDev, noExec } = MountFlag;
const kernels = noSuid | noDev | noExec;

const MOUNTS: readonly Mount[] = [
  {
    source: "devpts",
    target: "/dev/pts",
    type: "devpts",
    flags: noSuid | noExec,
    options: "mode=0620,gid=5,ptmxmode=0666",
  },
  { source: "mqueue", target: "/dev/mqueue", type: "mqueue", flags: kernels },
  { source: "run", target: "/run", type: "tmpfs", flags: noSuid | noDev, options: "mode=0755" },
];

/** A kernel may be built without them; then nobody can ask for what they do. */
const OPTIONAL_MOUNTS: readonly Mount[] = [
  {
    source: "hugetlbfs",
    target: "/dev/hugepages",
    type: "hugetlbfs",
    flags: noSuid | noDev,
    options: "mode=1777",
  },
  { source: "binfmt_misc", target: "/proc/sys/fs/binfmt_misc", type: "binfmt_misc", flags: kernels },
];

const LINKS: Record<string, string> = {
  "/dev/fd": "/proc/self/fd",
  "/dev/stdin": "/proc/self/fd/0",
  "/dev/stdout": "/proc/self/fd/1",
  "/dev/stderr": "/proc/self/fd/2",
};

export function mountKernelFilesystems({ shm_mb }: Pick<RunConfig, "shm_mb">): void {
  const size = shm_mb === undefined ? "" : `,size=${shm_mb}m`;
  const shm = {
    source: "shm",
    target: "/dev/shm",
    type: "tmpfs",
    flags: noSuid | noDev,
    options: `mode=1777${size}`,
  };
  for (const one of [...MOUNTS, shm]) {
    mkdirSync(one.target, { recursive: true });
    mount(one);
  }
  for (const one of OPTIONAL_MOUNTS) mountWhereKnown(one);
  for (const [link, target] of Object.entries(LINKS)) if (!existsSync(link)) symlinkSync(target, link);
}

function mountWhereKnown(one: Mount): void {
  // Nothing can be made below /proc: a folder that is missing there means the same as a type that is.
  if (!one.target.startsWith("/proc/")) mkdirSync(one.target, { recursive: true });
  try {
    mount(one);
  } catch (error) {
    const code = codeOf(error);
    if (code !== "ENODEV" && code !== "ENOENT") throw error;
  }
}
