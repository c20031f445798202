/** Figures of the machine that somebody may draw: what /proc and the app's cgroup tell, as counters since the boot. */
import { readdirSync, readFileSync, statfsSync } from "node:fs";
import type { GuestMetrics } from "../../control/contract/guest-api.ts";
import { APP_CGROUP } from "../child/cgroup.ts";
import { countOoms } from "../child/ooms.ts";
import { uptimeS } from "../system/clock.ts";
import { kilobytesOf } from "../system/memory.ts";

const TICK_MS = 10;
const SECTOR_BYTES = 512;
const DISKS_MAX = 32;
const INTERFACES_MAX = 16;
/** What the app uses, wherever its cgroup shows it: in a VM, or a container of v2 or v1. */
const APP_MEMORY_FILES = [
  `${APP_CGROUP}/memory.current`,
  "/sys/fs/cgroup/memory.current",
  "/sys/fs/cgroup/memory/memory.usage_in_bytes",
];

export interface OwnCounts {
  readonly execs: number;
  readonly log: GuestMetrics["log"];
}

export function metricsOf({ execs, log }: OwnCounts): GuestMetrics {
  const meminfo = readOr("/proc/meminfo");
  const kb = (name: string) => kilobytesOf(meminfo, name) ?? 0;
  const load = readOr("/proc/loadavg").split(" ").map(Number);
  const appBytes = APP_MEMORY_FILES.map((file) => Number(readOr(file) || NaN)).find((bytes) => bytes >= 0);
  return {
    at_ms: Date.now(),
    uptime_s: uptimeS(),
    load: [load[0] ?? 0, load[1] ?? 0, load[2] ?? 0],
    memory: {
      total_kb: kb("MemTotal"),
      available_kb: kb("MemAvailable"),
      cached_kb: kb("Cached"),
      swap_total_kb: kb("SwapTotal"),
      swap_free_kb: kb("SwapFree"),
      app_kb: appBytes === undefined ? null : Math.floor(appBytes / 1_024),
    },
    cpu: parseCpu(readOr("/proc/stat")),
    disks: parseDisks(readOr("/proc/diskstats")).slice(0, DISKS_MAX),
    interfaces: parseInterfaces(readOr("/proc/net/dev")).slice(0, INTERFACES_MAX),
    root: rootOf(),
    processes: readdirSync("/proc").filter((name) => /^\d+$/.test(name)).length,
    execs,
    oom_kills: countOoms().kills,
    log,
  };
}

/** The first line of /proc/stat is the sum over all processors, and each has a line of its own. */
export function parseCpu(stat: string): GuestMetrics["cpu"] {
  const lines = stat.split("\n").filter((line) => line.startsWith("cpu"));
  const [, user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0, steal = 0] =
    (lines[0] ?? "").split(/\s+/).map(Number);
  return {
    cpus: Math.max(0, lines.length - 1),
    user_ms: (user + nice) * TICK_MS,
    system_ms: (system + irq + softirq) * TICK_MS,
    idle_ms: idle * TICK_MS,
    iowait_ms: iowait * TICK_MS,
    steal_ms: steal * TICK_MS,
  };
}

/** Whole disks that were ever read (Documentation/admin-guide/iostats.rst): their parts would count everything twice. */
export function parseDisks(diskstats: string): GuestMetrics["disks"] {
  return diskstats.split("\n").flatMap((line) => {
    const [, , name, reads, , readSectors, , writes, , writtenSectors] = line.trim().split(/\s+/);
    if (name === undefined || !/^(vd[a-z]+|sd[a-z]+|nvme\d+n\d+)$/.test(name)) return [];
    return [{
      name,
      reads: Number(reads),
      read_bytes: Number(readSectors) * SECTOR_BYTES,
      writes: Number(writes),
      written_bytes: Number(writtenSectors) * SECTOR_BYTES,
    }];
  });
}

export function parseInterfaces(dev: string): GuestMetrics["interfaces"] {
  return dev.split("\n").slice(2).flatMap((line) => {
    const [name = "", figures = ""] = line.split(":");
    const numbers = figures.trim().split(/\s+/).map(Number);
    if (numbers.length < 16) return [];
    return [{
      name: name.trim(),
      received_bytes: numbers[0]!,
      received_packets: numbers[1]!,
      sent_bytes: numbers[8]!,
      sent_packets: numbers[9]!,
      dropped: numbers[3]! + numbers[11]!,
    }];
  });
}

export function rootOf(): GuestMetrics["root"] {
  const { bsize, blocks, bavail, files, ffree } = statfsSync("/");
  return { total_bytes: blocks * bsize, free_bytes: bavail * bsize, files, files_free: ffree };
}

function readOr(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return ""; // Not every kernel and container shows every file; what is missing reads as nothing.
  }
}
