/** Looks at a machine before anything is started on it: what Godwit needs, what it has, and what to do about the rest. */
import { existsSync, mkdirSync, readFileSync, statfsSync } from "node:fs";
import { dirname } from "node:path";
import { GodwitError } from "../../control/contract/errors.ts";
import { missingPackages, whichCommand } from "../setup/packages.ts";
import type { Home } from "./home.ts";
import { isFree, type PortPlan, requireFreePorts } from "./ports.ts";

export const DISK_MB_MIN = 4_096;
export const DISK_MB_GOOD = 10_240;
export const MEMORY_MB_MIN = 1_024;
export const MEMORY_MB_GOOD = 2_048;

export interface Facts {
  readonly root: boolean;
  readonly diskFreeMb: number;
  readonly memoryFreeMb: number;
  readonly missing: readonly string[];
  readonly takenPorts: readonly string[];
  /** Features of the kernel that cannot be found. */
  readonly kernelLacks: readonly string[];
  readonly kvm: "absent" | "present" | "no permission";
  readonly canInstall: boolean;
}

export interface Finding {
  readonly check: string;
  readonly level: "ok" | "info" | "warn" | "fail";
  readonly detail: string;
  readonly hint: string | null;
}

/** Pure: what the facts mean. */
export function judge(facts: Facts): Finding[] {
  const graded = (have: number, min: number, good: number) =>
    have < min ? "fail" : have < good ? "warn" : "ok";
  const find = (check: string, level: Finding["level"], detail: string, hint: string): Finding => ({
    check,
    level,
    detail,
    hint: level === "ok" || level === "info" ? null : hint,
  });
  const none = (list: readonly string[], otherwise: string) =>
    list.length === 0 ? otherwise : list.join(", ");
  return [
    find("root", facts.root ? "ok" : "fail", facts.root ? "yes" : "no", "run as root, for example with sudo"),
    find(
      "disk",
      graded(facts.diskFreeMb, DISK_MB_MIN, DISK_MB_GOOD),
      `${facts.diskFreeMb} MB free`,
      `free some space, or put GODWIT_HOME on another disk; ${DISK_MB_MIN} MB is the least, ${DISK_MB_GOOD} is comfortable`,
    ),
    find(
      "memory",
      graded(facts.memoryFreeMb, MEMORY_MB_MIN, MEMORY_MB_GOOD),
      `${facts.memoryFreeMb} MB available`,
      `each machine takes what its guest says, the rest about 600 MB; ${MEMORY_MB_MIN} MB is the least`,
    ),
    find(
      "ports",
      facts.takenPorts.length === 0 ? "ok" : "fail",
      facts.takenPorts.length === 0 ? "all free, or this stack's own" : facts.takenPorts.join("; "),
      "stop what holds them, or choose others with --port-base N",
    ),
    find(
      "packages",
      facts.missing.length === 0 ? "ok" : facts.canInstall ? "warn" : "fail",
      facts.missing.length === 0 ? "all there" : `missing: ${facts.missing.join(" ")}`,
      facts.canInstall ? "`up` installs them" : `install them: apt-get install ${facts.missing.join(" ")}`,
    ),
    find(
      "kernel",
      facts.kernelLacks.length === 0 ? "ok" : "fail",
      facts.kernelLacks.length === 0
        ? "tun, overlay, erofs, nftables"
        : `lacks ${none(facts.kernelLacks, "nothing")}`,
      "load the modules with modprobe, or run a kernel that has them",
    ),
    find(
      "kvm",
      "info",
      facts.kvm === "present"
        ? "/dev/kvm is there; a probe boot decides whether it is used"
        : `/dev/kvm: ${facts.kvm}; machines run under TCG, several times slower`,
      "",
    ),
  ];
}

export async function diagnose(home: Home, ports: PortPlan, stackRuns: boolean): Promise<Finding[]> {
  const takenPorts: string[] = [];
  if (!stackRuns) {
    for (const [name, port] of Object.entries(ports)) {
      if (!await isFree(port)) takenPorts.push(`${port} (meant for ${name}) is taken`);
    }
  }
  return judge(await gather(home, takenPorts));
}

async function gather(home: Home, takenPorts: string[]): Promise<Facts> {
  const root = process.getuid?.() === 0;
  return {
    root,
    diskFreeMb: diskFreeMb(home.folder),
    memoryFreeMb: memoryAvailableMb(readFileSync("/proc/meminfo", "utf8")),
    missing: missingPackages({ forCheck: false, which: whichCommand }).map((p) => p.name),
    takenPorts,
    kernelLacks: await kernelLacks(),
    kvm: kvmState(),
    canInstall: root && whichCommand("apt-get") !== null,
  };
}

function diskFreeMb(folder: string): number {
  let at = folder;
  while (!existsSync(at)) at = dirname(at);
  const disk = statfsSync(at);
  return Math.floor(disk.bavail * disk.bsize / 1_048_576);
}

/** MemAvailable of /proc/meminfo (proc(5)), in MB. */
export function memoryAvailableMb(meminfo: string): number {
  return Math.floor(Number(/^MemAvailable:\s+(\d+) kB$/m.exec(meminfo)?.[1] ?? 0) / 1_024);
}

async function kernelLacks(): Promise<string[]> {
  const lacks: string[] = [];
  if (!existsSync("/dev/net/tun") && !await loads("tun")) lacks.push("tun");
  for (const name of ["overlay", "erofs"]) {
    if (!readFileSync("/proc/filesystems", "utf8").split(/\s+/).includes(name) && !await loads(name)) {
      lacks.push(name);
    }
  }
  if (
    process.getuid?.() === 0 && whichCommand("nft") !== null && !await succeeds(["nft", "list", "tables"])
  ) {
    lacks.push("nftables");
  }
  return lacks;
}

const loads = async (module: string) =>
  whichCommand("modprobe") !== null && process.getuid?.() === 0 && await succeeds(["modprobe", module]);

async function succeeds(argv: string[]): Promise<boolean> {
  return await Bun.spawn(argv, { stdin: "ignore", stdout: "ignore", stderr: "ignore" }).exited === 0;
}

function kvmState(): Facts["kvm"] {
  if (!existsSync("/dev/kvm")) return "absent";
  try {
    readFileSync("/dev/kvm", { flag: "r" });
    return "present";
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EACCES" ? "no permission" : "present";
  }
}

/** The part of the doctor that stops an `up`; packages are the next step's matter. */
export async function checkMachine(home: Home, ports: PortPlan, skip: (keyof PortPlan)[]): Promise<string> {
  mkdirSync(home.folder, { recursive: true, mode: 0o700 });
  await requireFreePorts(ports, skip);
  const findings = judge(await gather(home, []));
  const failed = findings.filter((found) =>
    found.level === "fail" && found.check !== "packages" && found.check !== "kernel"
  );
  if (failed.length > 0) {
    throw new GodwitError(
      "stack.machine_unfit",
      `This machine lacks what a stack needs:\n${renderFindings(failed)}`,
      { fault: "client", hint: failed[0]!.hint ?? "see `bun run doctor`" },
    );
  }
  return findings.filter((found) => found.level === "warn" && found.check !== "packages").map((found) =>
    `${found.check}: ${found.detail}`
  ).join("; ");
}

const MARKS = { ok: "✓", info: "·", warn: "!", fail: "✗" } as const;

export function renderFindings(findings: readonly Finding[]): string {
  return findings.map((found) => {
    const line = `${MARKS[found.level]} ${found.check.padEnd(9)} ${found.detail}`;
    return found.hint === null ? line : `${line}\n  → ${found.hint}`;
  }).join("\n");
}
