/** Finds a machine's container after the agent lost it: by the record, else by asking runc (a crash before the record). */
import { existsSync, readFileSync, readlinkSync } from "node:fs";
import { basename } from "node:path";
import { z } from "zod";
import type { VmSpec } from "../driver.ts";
import { allPids, argumentsOf, identify, type ProcessIdentity } from "../host-process.ts";
import { hostCommand } from "../host-command.ts";
import { type ProcessRecord, readLiveRecord } from "../process-record.ts";
import type { RuncPaths } from "./runc-paths.ts";

/** All that this driver runs. */
export const TOOLS = ["runc", "ip", "mount", "umount"];

/** `runc state`, OCI runtime-spec "State". */
const State = z.object({
  status: z.enum(["creating", "created", "running", "stopped", "paused"]),
  pid: z.number(),
});

/** A container that was created but never told to run counts as none: `clean` removes it. */
export async function findContainer(
  spec: Pick<VmSpec, "machineId">,
  paths: RuncPaths,
): Promise<ProcessRecord | null> {
  const record = readLiveRecord(paths.record);
  if (record !== null && isIn(paths.kernelName, record.pid)) return record;
  if (!existsSync(paths.state)) return null;
  const purpose = `ask for the state of machine ${spec.machineId}`;
  let state: z.infer<typeof State>;
  try {
    state = State.parse(
      JSON.parse(await hostCommand(["runc", "--root", paths.state, "state", spec.machineId], { purpose })),
    );
  } catch {
    return null; // runc knows no such container, which is what was asked.
  }
  const process = state.status === "running" ? identify(state.pid) : null;
  return process !== null && isIn(paths.kernelName, process.pid) ? { ...process, console_from: 0 } : null;
}

/** Programs of an agent that was killed while it started or removed this container, and that still go on. */
export function toolsAtWork(spec: Pick<VmSpec, "runFolder">, paths: RuncPaths): ProcessIdentity[] {
  return allPids().filter((pid) => {
    const [program, ...rest] = argumentsOf(pid);
    if (program === undefined || !TOOLS.includes(basename(program))) return false;
    return rest.some((argument) => argument.startsWith(`${spec.runFolder}/`)) ||
      rest.includes(paths.kernelName) || isOrphanOfRunc(rest, pid, spec.runFolder);
  }).flatMap((pid) => identify(pid) ?? []);
}

/** `runc init`, before it is in the container's cgroup, names nothing; but it stands in the bundle, later in the root. */
function isOrphanOfRunc(rest: string[], pid: number, runFolder: string): boolean {
  try {
    return rest[0] === "init" && readlinkSync(`/proc/${pid}/cwd`).startsWith(`${runFolder}/`);
  } catch {
    return false; // Gone in between.
  }
}

function isIn(cgroup: string, pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cgroup`, "utf8").split("\n").some((line) =>
      line.endsWith(`:/${cgroup}`)
    );
  } catch {
    return false; // Gone in between.
  }
}
