/**
 * Finds the QEMU process of a machine after the agent lost it. The record in the run folder is the quick way; /proc is
 * the sure one, for a crash between the spawn and the record. Either way the process's own arguments must name the
 * machine and its folder, so that no stranger is ever adopted or killed.
 */
import type { VmSpec } from "../driver.ts";
import { allPids, argumentsOf, identify, type ProcessIdentity } from "../host-process.ts";
import { type ProcessRecord, readLiveRecord } from "../process-record.ts";
import { consoleArgument, nameOf } from "./qemu-arguments.ts";

type Named = Pick<VmSpec, "machineId" | "prefix" | "folder">;

/** Where a process is found without a record, its console is taken from the start: older boots may show in it. */
export function findQemu(spec: Named, recordFile: string): ProcessRecord | null {
  const record = readLiveRecord(recordFile);
  if (
    record !== null && identify(record.pid)?.start_time === record.start_time && isQemuOf(spec, record.pid)
  ) {
    return record;
  }
  const process = allQemusOf(spec)[0];
  return process === undefined ? null : { ...process, console_from: 0 };
}

/** More than one only where two starts raced; the layer's lock lets just one of them live. */
export function allQemusOf(spec: Named): ProcessIdentity[] {
  return allPids().filter((pid) => isQemuOf(spec, pid)).flatMap((pid) => identify(pid) ?? []);
}

/**
 * One that has begun to end by itself, or null. It shows no arguments any more and still holds its tap and its layer: its
 * record, of pid and start time, is all that tells whose it is. (For a moment of its exec a process shows none either.)
 */
export function endingQemu(recordFile: string): ProcessIdentity | null {
  const record = readLiveRecord(recordFile);
  return record !== null && argumentsOf(record.pid).length === 0 ? record : null;
}

export function machineIdsUnder(prefix: string): string[] {
  const ids = new Set<string>();
  for (const pid of allPids()) {
    const match = /^godwit-([0-9a-f]{14}),process=(gw[0-9a-f]{6})$/.exec(valueOf(argumentsOf(pid), "-name"));
    if (match?.[1] !== undefined && match[2] === prefix) ids.add(match[1]);
  }
  return [...ids];
}

function isQemuOf(spec: Named, pid: number): boolean {
  const argv = argumentsOf(pid);
  if (valueOf(argv, "-name") !== nameOf(spec)) return false;
  return argv.includes(consoleArgument(spec.folder));
}

function valueOf(argv: string[], option: string): string {
  const at = argv.indexOf(option);
  return at === -1 ? "" : argv[at + 1] ?? "";
}
