/** What the machine is, as somebody who logs in to it would ask. */
import { readFileSync } from "node:fs";
import os from "node:os";
import type { GuestSysinfo } from "../../control/contract/guest-api.ts";
import { uptimeS } from "../system/clock.ts";
import { rootOf } from "./metrics.ts";

const ADDRESSES_MAX = 16;
const INTERFACES_MAX = 16;
const MIB = 1_048_576;

export function sysinfoOf(): GuestSysinfo {
  const root = rootOf();
  const bootId = readOr("/proc/sys/kernel/random/boot_id").trim();
  return {
    hostname: os.hostname().slice(0, 64),
    kernel: os.release().slice(0, 128),
    architecture: os.machine(),
    system: prettyName(readOr("/etc/os-release")),
    cpus: os.cpus().length,
    memory_mb: Math.floor(os.totalmem() / MIB),
    uptime_s: uptimeS(),
    clock_ms: Date.now(),
    boot_id: bootId === "" ? null : bootId,
    disk: root === null ? null : { total_bytes: root.total_bytes, free_bytes: root.free_bytes },
    interfaces: Object.entries(os.networkInterfaces()).slice(0, INTERFACES_MAX).map(([name, addresses]) => ({
      name: name.slice(0, 16),
      addresses: (addresses ?? []).slice(0, ADDRESSES_MAX).map(({ cidr, address }) => cidr ?? address),
    })),
  };
}

/** os-release(5). */
export function prettyName(text: string): string | null {
  const match = /^PRETTY_NAME=(?:"([^"\n]*)"|'([^'\n]*)'|([^\n]*))$/m.exec(text);
  const name = match?.[1] ?? match?.[2] ?? match?.[3] ?? "";
  return name === "" ? null : name.slice(0, 128);
}

function readOr(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return ""; // An image FROM scratch has no os-release.
  }
}
