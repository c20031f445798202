/**
 * What a jailed Firecracker finds at its root: its drives as bind mounts, two pipes for its log and metrics. The jailer adds
 * its program and /dev, and removes nothing of it afterwards; removeJail() does.
 */
import { chmodSync, chownSync, existsSync, mkdirSync, rmdirSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { messageOf } from "../../../contract/errors.ts";
import type { VmName, VmSpec } from "../driver.ts";
import { hostCommand } from "../host-command.ts";
import { allPids, argumentsOf, identify, killAndWait, type ProcessIdentity } from "../host-process.ts";
import { killAllIn, removeCgroups } from "../runc/cgroups.ts";
import { mountsBelow } from "../runc/rootfs.ts";
import { processesOf } from "./find-firecracker.ts";
import type { FirecrackerPaths } from "./firecracker-paths.ts";
import type { IN_JAIL } from "./requests.ts";

/** The program's copy, devices, the saved state of devices. */
const JAIL_EXTRA_MB = 64;
/** A killed process lets go of its mounts a moment later, and so does who read its pipes. */
const BUSY_TRIES_MAX = 150;
const BUSY_RETRY_MS = 20;
/** Of looking for what a killed agent left at work; more than one only where something appeared meanwhile. */
const REMOVE_ROUNDS_MAX = 5;
const TOOLS = ["mount", "umount", "mkfifo"];

export interface JailContent {
  readonly user: number;
  readonly memoryMb: VmSpec["guest"]["memory_mb"];
  /** Files of the host that others use too; all may read them, none may write. */
  readonly shared: Partial<Record<keyof typeof IN_JAIL, string>>;
  /** The VM's own; the jailed user becomes their owner. */
  readonly own: Partial<Record<keyof typeof IN_JAIL, string>>;
  /** Written into the jail itself, so that they go with it. */
  readonly bytes: Partial<Record<keyof typeof IN_JAIL, Uint8Array>>;
}

export async function makeJail(name: VmName, paths: FirecrackerPaths, content: JailContent): Promise<void> {
  const purpose = `make the jail of machine ${name.machineId}`;
  mkdirSync(paths.jail, { mode: 0o700 });
  // Room for memory that is saved while older memory, of which this VM went on, is still mapped. Taken only when used.
  const size = 2 * content.memoryMb + JAIL_EXTRA_MB;
  const options = `nosuid,mode=0700,size=${size}m`;
  await hostCommand(["mount", "-t", "tmpfs", "-o", options, paths.kernelName, paths.jail], { purpose });
  mkdirSync(paths.root, { recursive: true, mode: 0o700 });
  await Promise.all([
    ...filesOf(content.shared).map(([file, from]) => bind(from, paths.inJail(file), "bind,ro", purpose)),
    ...filesOf(content.own).map(([file, from]) => {
      chownSync(from, content.user, content.user);
      return bind(from, paths.inJail(file), "bind", purpose);
    }),
    makePipes([paths.inJail("log"), paths.inJail("metrics")], content.user, purpose),
  ]);
  for (const [file, bytes] of filesOf(content.bytes)) giveFile(paths.inJail(file), content.user, bytes);
}

/** The jailer takes 1 where it is not told. A host with both has its controllers on 1. */
export function cgroupVersion(): 1 | 2 {
  return existsSync("/sys/fs/cgroup/cgroup.controllers") ? 2 : 1;
}

/** A file that the jailed user may read, and nobody else. */
function giveFile(path: string, user: number, bytes: Uint8Array): void {
  writeFileSync(path, bytes, { mode: 0o400, flag: "wx" });
  chownSync(path, user, user);
}

/**
 * Processes, mounts, cgroup. A program that a killed agent was just about to start carries no mark until it runs, so what
 * appears after the first look is found by the next.
 */
export async function removeJail(name: VmName, paths: FirecrackerPaths): Promise<void> {
  for (let rounds = 1; rounds <= REMOVE_ROUNDS_MAX; rounds++) {
    await Promise.all([...processesOf(paths.kernelName), ...toolsAtWork(name)].map(killAndWait));
    const cgroups = [`${paths.kernelName}/${paths.kernelName}`, paths.kernelName];
    for (const cgroup of cgroups) await killAllIn(cgroup);
    for (const cgroup of cgroups) await removeCgroups(cgroup);
    await unmount(name, paths);
    if (processesOf(paths.kernelName).length === 0 && toolsAtWork(name).length === 0) break;
  }
  try {
    // Never recursive: below a mount that could not be undone lies the machine's layer.
    rmdirSync(paths.jail);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}

function toolsAtWork(name: VmName): ProcessIdentity[] {
  return allPids().filter((pid) => {
    const [program, ...rest] = argumentsOf(pid);
    if (program === undefined || !TOOLS.includes(basename(program))) return false;
    return rest.some((argument) => argument.startsWith(`${name.runFolder}/`));
  }).flatMap((pid) => identify(pid) ?? []);
}

async function unmount(name: VmName, paths: FirecrackerPaths): Promise<void> {
  for (let tries = 1; mountsBelow(name.runFolder).length > 0; tries++) {
    try {
      const purpose = `remove the jail of machine ${name.machineId}`;
      await hostCommand(["umount", "--recursive", paths.jail], { purpose });
    } catch (error) {
      if (tries >= BUSY_TRIES_MAX || !/busy|not mounted/.test(messageOf(error))) throw error;
      await delay(BUSY_RETRY_MS);
    }
  }
}

async function bind(from: string, to: string, options: string, purpose: string): Promise<void> {
  writeFileSync(to, "", { mode: 0o400, flag: "wx" });
  await hostCommand(["mount", "-o", options, from, to], { purpose });
}

async function makePipes(files: readonly string[], user: number, purpose: string): Promise<void> {
  await hostCommand(["mkfifo", ...files], { purpose });
  for (const file of files) {
    chmodSync(file, 0o600);
    chownSync(file, user, user);
  }
}

function filesOf<T>(files: Partial<Record<keyof typeof IN_JAIL, T>>): [keyof typeof IN_JAIL, T][] {
  return Object.entries(files) as [keyof typeof IN_JAIL, T][];
}
