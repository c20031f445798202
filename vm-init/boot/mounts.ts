/** Step mounts: the kernel's filesystems, beside /proc, /sys and /dev, which stage 0 had to mount. */
import { existsSync, mkdirSync, symlinkSync } from "node:fs";
import { type Mount, mount, MountFlag } from "../system/mount.ts";

const { noSuid, noDev, noExec } = MountFlag;

const MOUNTS: readonly Mount[] = [
  {
    source: "devpts",
    target: "/dev/pts",
    type: "devpts",
    flags: noSuid | noExec,
    options: "mode=0620,gid=5,ptmxmode=0666",
  },
  { source: "shm", target: "/dev/shm", type: "tmpfs", flags: noSuid | noDev, options: "mode=1777" },
  { source: "mqueue", target: "/dev/mqueue", type: "mqueue", flags: noSuid | noDev | noExec },
  { source: "run", target: "/run", type: "tmpfs", flags: noSuid | noDev, options: "mode=0755" },
  { source: "cgroup2", target: "/sys/fs/cgroup", type: "cgroup2", flags: noSuid | noDev | noExec },
];

const LINKS: Record<string, string> = {
  "/dev/fd": "/proc/self/fd",
  "/dev/stdin": "/proc/self/fd/0",
  "/dev/stdout": "/proc/self/fd/1",
  "/dev/stderr": "/proc/self/fd/2",
};

export function mountKernelFilesystems(): void {
  for (const one of MOUNTS) {
    mkdirSync(one.target, { recursive: true });
    mount(one);
  }
  for (const [link, target] of Object.entries(LINKS)) if (!existsSync(link)) symlinkSync(target, link);
}
