/** The descriptor of a listening socket of ours, which node:net does not tell: the kernel's tables do (proc(5)). */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";

const LISTEN = "0A";

/** @returns null where there is none, or no /proc */
export function listeningFd(port: number): number | null {
  try {
    const inodes = new Set<string>();
    for (const table of ["tcp", "tcp6"]) {
      for (const line of readFileSync(`/proc/self/net/${table}`, "utf8").split("\n").slice(1)) {
        const fields = line.trim().split(/\s+/);
        const local = Number.parseInt(fields[1]?.split(":")[1] ?? "", 16);
        if (fields[3] === LISTEN && local === port) inodes.add(`socket:[${fields[9]}]`);
      }
    }
    return readdirSync("/proc/self/fd").map(Number).find((fd) => inodes.has(target(fd))) ?? null;
  } catch {
    return null;
  }
}

function target(fd: number): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return ""; // the descriptor of the folder that was read
  }
}
