/**
 * What a suspended VM is: one sealed file in the machine's folder, its key in the run folder, and nothing where either is
 * missing. Firecracker writes memory in the clear and maps the file that it loads, so the clear text lies in the jail's
 * tmpfs: from the snapshot until it is sealed, and from before the load until the load has mapped it.
 */
import { constants, existsSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { type FileHandle, open, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { z } from "zod";
import type { VmSpec } from "../driver.ts";
import { newSealKey, openSealed, SEAL_KEY_BYTES, sealFile } from "../sealed-file.ts";
import type { FirecrackerPaths } from "./firecracker-paths.ts";
import { requireHostMemory } from "./host-memory.ts";
import { ByteReader, packFile, unpackFile } from "./sparse-stream.ts";

/** Of the devices; kilobytes in truth. */
const STATE_BYTES_MAX = 16 * 1_048_576;
/** The largest guest's memory is far below; this bounds what a broken VMM can make us read. */
const MEMORY_BYTES_MAX = 2 ** 40;

/** A file as a saved VM knows it. */
const FileIdentity = z.object({ device: z.number(), inode: z.number(), bytes: z.number() });
type FileIdentity = z.infer<typeof FileIdentity>;

const Header = z.object({
  schema: z.literal(1),
  machine_id: z.string(),
  /** A snapshot is for the version that made it, and a few others: then Firecracker decides. */
  vmm_version: z.string(),
  state_bytes: z.number().int().min(1).max(STATE_BYTES_MAX),
  memory_bytes: z.number().int().min(1).max(MEMORY_BYTES_MAX),
  layer: FileIdentity,
});
export type SavedHeader = z.infer<typeof Header>;

export function isSaved(paths: FirecrackerPaths): boolean {
  return existsSync(paths.key) && existsSync(paths.saved);
}

/** The key first: without it the rest is noise. */
export function forgetSaved(paths: FirecrackerPaths): void {
  for (const file of [paths.key, paths.saved, paths.savedDraft]) rmSync(file, { force: true });
}

/** Of a save or a machine's end that was cut off: what has no partner is nothing. */
export function removeHalfSaved(paths: FirecrackerPaths): void {
  rmSync(paths.savedDraft, { force: true });
  if (!isSaved(paths)) forgetSaved(paths);
}

export interface SaveInput {
  readonly machineId: string;
  readonly vmmVersion: string;
  readonly signal: AbortSignal;
}

/** Seals the snapshot that lies in the jail. Once this resolves it is whole and on disk; before, it is nothing. */
export async function seal(paths: FirecrackerPaths, input: SaveInput): Promise<void> {
  await using state = await openInJail(paths.inJail("state"));
  await using memory = await openInJail(paths.inJail("memory"));
  const header: SavedHeader = {
    schema: 1,
    machine_id: input.machineId,
    vmm_version: input.vmmVersion,
    state_bytes: await sizeOf(state, STATE_BYTES_MAX),
    memory_bytes: await sizeOf(memory, MEMORY_BYTES_MAX),
    layer: identityOf(paths.inJail("layer")),
  };
  const key = newSealKey();
  forgetSaved(paths);
  // Two bytes a window are the only ones that packing can add.
  const bytesMax = header.state_bytes + header.memory_bytes + header.memory_bytes / 1_024 + 1_024;
  await sealFile(paths.savedDraft, key, header, pieces(state, memory, header, input.signal), { bytesMax });
  writeFileSync(paths.key, key, { mode: 0o600, flag: "wx" });
  input.signal.throwIfAborted();
  await rename(paths.savedDraft, paths.saved);
  await using folder = await open(dirname(paths.saved));
  await folder.sync();
}

async function* pieces(
  state: FileHandle,
  memory: FileHandle,
  header: SavedHeader,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, void> {
  signal.throwIfAborted();
  const bytes = Buffer.alloc(header.state_bytes);
  await state.read(bytes, 0, bytes.length, 0);
  yield bytes;
  for await (const piece of packFile(memory, header.memory_bytes)) {
    signal.throwIfAborted();
    yield piece;
  }
}

/**
 * Unseals into files that must not be there yet. Every byte is verified before it is written, and the whole before this
 * resolves. @throws Error in words, GodwitError `vmm.saved_state_damaged`
 */
export async function unseal(
  paths: FirecrackerPaths,
  spec: Pick<VmSpec, "machineId" | "layerFile">,
  targets: { readonly state: string; readonly memory: string },
): Promise<SavedHeader> {
  if (!isSaved(paths)) throw new Error("nothing is saved of it on this host, or the key to it is gone");
  const key = readFileSync(paths.key);
  if (key.length !== SEAL_KEY_BYTES) throw new Error(`the key ${paths.key} has ${key.length} bytes`);
  requireHostMemory(statSync(paths.saved).size);
  const sealed = await openSealed(paths.saved, key);
  try {
    // Read before it is verified, and so only believed as far as the records, which it is part of, prove it.
    const header = Header.parse(sealed.header);
    const reader = new ByteReader(sealed.read());
    const state = await reader.take(header.state_bytes);
    if (header.machine_id !== spec.machineId) {
      throw new Error(`what is saved is machine ${header.machine_id}'s`);
    }
    const layer = identityOf(spec.layerFile);
    if (JSON.stringify(layer) !== JSON.stringify(header.layer)) {
      throw new Error(`its layer ${spec.layerFile} is not the file that its memory knows`);
    }
    writeFileSync(targets.state, state, { mode: 0o600, flag: "wx" });
    await using memory = await open(targets.memory, "wx", 0o600);
    await unpackFile(memory, header.memory_bytes, reader);
    await reader.end();
    return header;
  } finally {
    await sealed.close();
  }
}

/** Written by the jailed user, who may put anything in its place. */
async function openInJail(path: string): Promise<FileHandle> {
  return await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
}

async function sizeOf(file: FileHandle, bytesMax: number): Promise<number> {
  const found = await file.stat();
  if (!found.isFile()) throw new Error("the snapshot is no file");
  if (found.size === 0 || found.size > bytesMax) throw new Error(`the snapshot has ${found.size} bytes`);
  return found.size;
}

function identityOf(file: string): FileIdentity {
  const { dev, ino, size } = statSync(file);
  return { device: dev, inode: ino, bytes: size };
}
