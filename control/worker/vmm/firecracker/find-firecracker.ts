/**
 * Finds a machine's Firecracker after the agent lost it. The record in the run folder is the quick way; /proc is the sure
 * one, for a crash between the spawn and the record. Either way the process's own `--id` must be the machine's and its
 * stack's, so that no stranger is ever adopted or killed.
 */
import { readFileSync } from "node:fs";
import { GodwitError } from "../../../contract/errors.ts";
import { allPids, argumentsOf, identify, type ProcessIdentity } from "../host-process.ts";
import { type ProcessRecord, readLiveRecord } from "../process-record.ts";
import { cgroupNames } from "../runc/cgroups.ts";
import { FirecrackerApi } from "./api-client.ts";
import type { InstanceInfo } from "./api-types.ts";
import type { FirecrackerPaths } from "./firecracker-paths.ts";

/** It answers within a millisecond, or while it writes a snapshot not at all. */
const STATE_WAIT_MS_MAX = 2_000;

/** Where a process is found without a record, its console is taken from the start: older boots may show in it. */
export function findFirecracker(paths: FirecrackerPaths): ProcessRecord | null {
  const record = readLiveRecord(paths.record);
  if (record !== null && idOf(record.pid) === paths.kernelName) return record;
  const process = processesOf(paths.kernelName)[0];
  return process === undefined ? null : { ...process, console_from: 0 };
}

/** Jailer or Firecracker of this VM: both carry the name, and the first becomes the second. */
export function processesOf(kernelName: string): ProcessIdentity[] {
  return allPids().filter((pid) => idOf(pid) === kernelName).flatMap((pid) => identify(pid) ?? []);
}

/** What a process that was found has in it. One whose API is not there yet has no guest; one that hangs may have. */
export async function stateOf(paths: FirecrackerPaths): Promise<InstanceInfo["state"]> {
  const api = await FirecrackerApi.connect(paths.inJail("api"));
  if (api === null) return "Not started";
  try {
    return (await api.describe(STATE_WAIT_MS_MAX)).state;
  } catch (error) {
    if (error instanceof GodwitError && error.code === "vmm.api_failed") return "Running";
    throw error;
  } finally {
    api.close();
  }
}

/** Of every machine of a stack of which a process, a cgroup or a jail is left. */
export function kernelNamesUnder(prefix: string): string[] {
  const names = [...allPids().map(idOf), ...cgroupNames(), ...jailNames()];
  return [...new Set(names.filter((name) => name.startsWith(`${prefix}-`)))];
}

function idOf(pid: number): string {
  const argv = argumentsOf(pid);
  const at = argv.indexOf("--id");
  return at === -1 ? "" : argv[at + 1] ?? "";
}

/** A jail is a tmpfs whose source is its name: field 10 of mountinfo, counted from the dash (proc(5)). */
function jailNames(): string[] {
  return readFileSync("/proc/self/mountinfo", "utf8").split("\n").flatMap((line) => {
    const [type, source] = (line.split(" - ")[1] ?? "").split(" ");
    return type === "tmpfs" && source !== undefined ? [source] : [];
  });
}
