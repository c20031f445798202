/**
 * The peer of a machine's start: the same VM started by a shell script that somebody wrote in five minutes. Its QEMU is
 * called with the arguments of the machine's own, taken from /proc, with other names, sockets and a copy of the writable
 * layer; kernel, initramfs, drives, run configuration and addresses are the same. What the agent hands to its QEMU open the
 * script names, and its QEMU is root's, without an enclosure: less work than ours has.
 */
import {
  chmodSync,
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
} from "node:fs";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { GodwitError } from "../../control/contract/errors.ts";
import { startTicks } from "../stack/identity.ts";

/** USER_HZ, the same on every Linux that Bun runs on. */
const TICKS_PER_S = 100;

/** A VM that runs, as its process shows it. */
export interface Original {
  readonly argv: readonly string[];
  readonly machineId: string;
  /** Files in QEMU's root, and where they are on the host. */
  readonly rootFiles: ReadonlyMap<string, string>;
  /** Host side and guest's address of its link, `172.20.16.2/31` and `172.20.16.3`. */
  readonly gateway: string;
  readonly address: string;
  readonly mac: string;
  /** Of the host's side: a guest that is resumed still believes in the one that it knew. */
  readonly hostMac: string;
}

export interface HandRun {
  readonly argv: readonly string[];
  readonly scriptFile: string;
  readonly folder: string;
  readonly tap: string;
  readonly layerFrom: string;
  readonly layerFile: string;
  readonly configFrom: string;
  readonly configFile: string;
  readonly controlSocket: string;
  readonly qmpSocket: string;
  /** Plain, as `cat` would write it. */
  readonly memoryFile: string;
  readonly resumeScriptFile: string;
}

export interface QemuProcess {
  readonly pid: number;
  readonly argv: readonly string[];
  /** Since it was made, to a hundredth of a second. */
  readonly ageMs: number;
}

/** The process that runs the machine's VM. */
export function qemuOf(machineId: string): QemuProcess {
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    let argv: string[];
    try {
      argv = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").slice(0, -1);
    } catch {
      continue; // it ended while it was looked at
    }
    const isQemu = argv[0]?.includes("qemu-system") === true;
    const isOurs = argv.some((argument) => argument.startsWith(`godwit-${machineId},`));
    if (isQemu && isOurs) return { pid: Number(pid), argv, ageMs: ageOf(Number(pid)) };
  }
  throw new GodwitError("bench.no_vm", `No QEMU runs machine ${machineId} on this host`, {
    fault: "us",
    hint: "the stack must run with --vmm qemu",
  });
}

function ageOf(pid: number): number {
  const uptimeMs = Number(readFileSync("/proc/uptime", "utf8").split(" ")[0]) * 1_000;
  return uptimeMs - Number(startTicks(pid)) * 1_000 / TICKS_PER_S;
}

/** The value of `key=` in the option that names `id`, with QEMU's doubled commas undone. */
export function optionValue(argv: readonly string[], id: string, key: string): string {
  const option = argv.find((argument) => argument.split(",").includes(id)) ?? "";
  const found = new RegExp(`(?:^|,)${key}=((?:[^,]|,,)*)`).exec(option)?.[1];
  if (found === undefined) throw new Error(`QEMU's arguments hold no ${id} with ${key}=`);
  return found.replaceAll(",,", ",");
}

/** Pure: arguments that name files where the original's name descriptors and files of its own root. */
export function plainArguments({ argv, rootFiles }: Pick<Original, "argv" | "rootFiles">): string[] {
  const files = new Map<string, string>();
  const rest: string[] = [];
  for (let at = 0; at < argv.length; at++) {
    if (argv[at] !== "-add-fd") {
      rest.push(argv[at]!);
      continue;
    }
    const [, set, file] = /^fd=\d+,set=(\d+),opaque=(.*)$/.exec(argv[++at] ?? "") ?? [];
    if (set === undefined || file === undefined) {
      throw new Error(`QEMU was handed a descriptor as ${argv[at]}`);
    }
    files.set(`/dev/fdset/${set}`, file);
  }
  return rest.map((argument, at) => {
    const inRoot = ["-kernel", "-initrd"].includes(rest[at - 1] ?? "") ? rootFiles.get(argument) : undefined;
    return inRoot ?? argument.replace(/\/dev\/fdset\/\d+/, (place) => files.get(place) ?? place);
  });
}

/** Pure: what is the same and what is not. */
export function planHandRun(original: Original, folder: string, tap: string): HandRun {
  const argv = plainArguments(original);
  const renamed = {
    layerFrom: optionValue(argv, "id=layer", "file"),
    layerFile: join(folder, "layer.ext4"),
    configFrom: optionValue(argv, "id=config", "file"),
    configFile: join(folder, "run-config.img"),
    controlSocket: join(folder, "control.sock"),
    qmpSocket: join(folder, "qmp.sock"),
    memoryFile: join(folder, "memory"),
    resumeScriptFile: join(folder, "resume.sh"),
  };
  const places = new Map<string | RegExp, string>([
    [renamed.layerFrom, renamed.layerFile],
    [renamed.configFrom, renamed.configFile],
    [/^socket,id=control,fd=\d+/, `socket,id=control,path=${renamed.controlSocket}`],
    [/^socket,id=qmp,fd=\d+/, `socket,id=qmp,path=${renamed.qmpSocket}`],
    [optionValue(argv, "id=console", "path"), join(folder, "console.log")],
    [/^tap,id=link,fd=\d+/, `tap,id=link,ifname=${tap},script=no,downscript=no`],
  ]);
  const name = argv[argv.indexOf("-name") + 1] ?? "";
  const handArgv = argv.map((argument) => {
    if (argument === name) return "hand-run";
    return [...places].reduce((text, [from, to]) => text.replace(from, to), argument);
  });
  return { argv: handArgv, scriptFile: join(folder, "start.sh"), folder, tap, ...renamed };
}

export function scriptOf(original: Original, plan: HandRun): string {
  return script(original, plan, "");
}

/** QEMU reads the memory from a file that the shell opened; what was saved from a guest that ran goes on by itself. */
export function resumeScriptOf(original: Original, plan: HandRun): string {
  return script(original, plan, ` -incoming fd:9 9<${quoted(plan.memoryFile)}`);
}

function script(original: Original, plan: HandRun, more: string): string {
  const { tap } = plan;
  return `#!/bin/sh
set -eu
ip tuntap add dev ${tap} mode tap
ip address add ${original.gateway} dev ${tap}
ip link set dev ${tap} address ${original.hostMac} up
# The guest's address is known, so the host need not ask for it, once a second, before the guest is there.
ip neighbour replace ${original.address} lladdr ${original.mac} dev ${tap}
exec ${plan.argv.map(quoted).join(" ")}${more}
`;
}

export function prepareHandRun(original: Original, plan: HandRun): void {
  mkdirSync(plan.folder, { recursive: true });
  copyFileSync(plan.configFrom, plan.configFile);
  chmodSync(plan.configFile, 0o600);
  writeFileSync(plan.scriptFile, scriptOf(original, plan), { mode: 0o700 });
  writeFileSync(plan.resumeScriptFile, resumeScriptOf(original, plan), { mode: 0o700 });
}

/** A fresh copy of the layer for each run, as the machine's own stands when it is stopped. */
export function copyLayer(plan: HandRun): void {
  const { exitCode, stderr } = Bun.spawnSync(["cp", "--sparse=always", plan.layerFrom, plan.layerFile]);
  if (exitCode !== 0) throw new Error(`Cannot copy ${plan.layerFrom}: ${stderr.toString().trim()}`);
}

export interface HandVm {
  /** The script's, which becomes QEMU's. */
  readonly pid: number;
  /** Ends the VM and removes its tap. */
  end(): Promise<void>;
}

export function startByHand(plan: HandRun, scriptFile = plan.scriptFile): HandVm {
  const output = openSync(join(plan.folder, "qemu.log"), "w");
  // exec: the script's process becomes QEMU.
  const child = Bun.spawn(["/bin/sh", scriptFile], { stdio: ["ignore", output, output] });
  closeSync(output);
  return {
    pid: child.pid,
    async end() {
      child.kill("SIGKILL");
      await child.exited;
      if (existsSync(`/sys/class/net/${plan.tap}`)) Bun.spawnSync(["ip", "link", "delete", "dev", plan.tap]);
    },
  };
}

export function quoted(argument: string): string {
  return /^[\w@%+=:,./-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", `'\\''`)}'`;
}
