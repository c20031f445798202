/**
 * The saved memory of a VM: a sealed file in the machine's folder, its key in the run folder, which no reboot survives.
 * The file tells what the VM was started with. Memory goes on only in the same QEMU, with the same devices, on the same
 * files: anything else would meet a guest that believes in another disk.
 */
import { existsSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { z } from "zod";
import { GodwitError } from "../../../contract/errors.ts";
import type { VmName } from "../driver.ts";
import { argumentsOf } from "../host-process.ts";
import { openSealed, type SealedFile } from "../sealed-file.ts";
import { INCOMING, type MachineType } from "./qemu-arguments.ts";
import { type QemuPaths, qemuPaths } from "./qemu-paths.ts";

const SCHEMA = 1;

const Origin = z.object({
  schema: z.literal(SCHEMA),
  machine_id: z.string(),
  machine: z.enum(["microvm", "q35"]),
  /** Of QEMU, without its own name and without what took memory in. */
  arguments: z.array(z.string()),
  /** Which file each regular file was that it held open, its own program among them: device, inode, size, time. */
  files: z.array(z.string()),
});
/** What a VM whose memory is saved was started with. */
export type Origin = z.infer<typeof Origin>;

/** By the process itself, so that an adopted VM tells it as well as one that was just started. Called while it is paused. */
export function originOf(machineId: string, pid: number): Origin {
  const argv = withoutIncoming(argumentsOf(pid).slice(1));
  const machine: MachineType = argv.includes("q35") ? "q35" : "microvm";
  const held = readdirSync(`/proc/${pid}/fd`).map((fd) => `/proc/${pid}/fd/${fd}`);
  const files = [`/proc/${pid}/exe`, ...held].flatMap((file) => identityOf(file) ?? []);
  return { schema: SCHEMA, machine_id: machineId, machine, arguments: argv, files: [...new Set(files)] };
}

/** @throws GodwitError `vmm.saved_state_damaged` */
export async function openSaved(paths: QemuPaths): Promise<{ origin: Origin; memory: SealedFile }> {
  const memory = await openSealed(paths.saved, readFileSync(paths.key));
  const origin = Origin.safeParse(memory.header);
  if (origin.success) return { origin: origin.data, memory };
  await memory.close();
  throw new GodwitError("vmm.saved_state_damaged", `Cannot use ${paths.saved}: it is of another version`, {
    fault: "us",
  });
}

/** What keeps memory of this origin from going on with these arguments and files; null where nothing does. */
export function mismatch(
  origin: Origin,
  now: {
    readonly machineId: string;
    readonly arguments: readonly string[];
    readonly files: readonly string[];
  },
): string | null {
  if (origin.machine_id !== now.machineId) return `it is the memory of machine ${origin.machine_id}`;
  for (let at = 0; at < Math.max(origin.arguments.length, now.arguments.length); at++) {
    const [was, is] = [origin.arguments[at] ?? "nothing more", now.arguments[at] ?? "nothing more"];
    if (was !== is) return `QEMU was started with ${was} then, and would be with ${is} now`;
  }
  const changed = now.files.find((file) => !origin.files.includes(identityOf(file) ?? "gone"));
  return changed === undefined ? null : `${changed} is not the file that it was`;
}

export function isSaved(name: VmName): boolean {
  const paths = qemuPaths(name);
  return existsSync(paths.saved) && existsSync(paths.key);
}

/** Key first: what is left of the file then is noise. */
export function forgetSaved(paths: QemuPaths): void {
  for (const file of [paths.key, paths.saved, paths.savedDraft]) rmSync(file, { force: true });
}

/** What no whole saved state belongs to. */
export function removeHalfSaved(paths: QemuPaths): void {
  rmSync(paths.savedDraft, { force: true });
  if (!existsSync(paths.saved)) rmSync(paths.key, { force: true });
}

function withoutIncoming(argv: string[]): string[] {
  const at = argv.indexOf(INCOMING[0]!);
  return at === -1 ? argv : argv.slice(0, at);
}

/** Null where it is no regular file, or gone. */
function identityOf(file: string): string | null {
  let found: ReturnType<typeof statSync>;
  try {
    found = statSync(file, { bigint: true });
  } catch {
    return null; // A descriptor that was closed while it was looked at, or a file that is missing: said by the caller.
  }
  const { dev, ino, size, mtimeNs } = found as unknown as Record<string, bigint>;
  return found.isFile() ? `${dev}:${ino}:${size}:${mtimeNs}` : null;
}
