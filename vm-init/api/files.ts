/**
 * Files of the machine's root, read and written as root of that machine for somebody who may run commands in it. A link
 * on the way is followed, since all of the root is one app's; what matters is that vm-init never waits: it opens nothing
 * that would block (a FIFO, a device), and a file that is written appears whole, under its name, or not at all.
 */
import { constants } from "node:fs";
import { type FileHandle, lstat, open, readlink, realpath, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { Stats } from "node:fs";
import { EXEC_PIECE_BYTES, FrameKind, FrameReader } from "../../control/contract/exec-frames.ts";
import type { FileEntry } from "../../control/contract/guest-api.ts";
import { FILE_BYTES_MAX, PATH_BYTES_MAX } from "../../control/contract/guest-limits.ts";
import { collectNowAndThen } from "../system/collect.ts";
import { BootError, codeOf, messageOf } from "../system/error.ts";
import type { Identity } from "../system/process.ts";
import { answer, Refusal, type Stream } from "./answer.ts";
import { Channel } from "./channel.ts";

/** How what is no command ends well. */
export const WHOLE = {
  exit_code: 0,
  signal: null,
  timed_out: false,
  stdout_lost_bytes: 0,
  stderr_lost_bytes: 0,
};
const MODE_DEFAULT = 0o644;
const MODE_MASK = 0o7777;
/** NAME_MAX of Linux, less what the temporary name adds. */
const NAME_CHARS_MAX = 200;
const TARGET_CHARS_MAX = 8_192;
const FIELD_BYTES_MAX = 16_384;

export function pathFrom(path: unknown): string {
  if (typeof path !== "string") throw new BootError("Cannot tell which file: path must be a string");
  if (path.startsWith("/") && !path.includes("\0") && Buffer.byteLength(path) <= PATH_BYTES_MAX) return path;
  throw new Refusal("guest.path_invalid", `Cannot use the path ${JSON.stringify(path.slice(0, 200))}`, {
    hint: `a path begins with /, holds no NUL and has at most ${PATH_BYTES_MAX} bytes`,
  });
}

export async function entryOf(path: string): Promise<FileEntry> {
  try {
    const found = await lstat(path);
    const target = found.isSymbolicLink() ? (await readlink(path)).slice(0, TARGET_CHARS_MAX) : null;
    return entryFrom(path, found, target);
  } catch (error) {
    throw refusalOf("look at", path, error);
  }
}

function entryFrom(path: string, found: Stats, target: string | null): FileEntry {
  return {
    path,
    kind: found.isFile()
      ? "file"
      : found.isDirectory()
      ? "folder"
      : found.isSymbolicLink()
      ? "link"
      : "other",
    size_bytes: Math.min(found.size, FILE_BYTES_MAX),
    mode: found.mode & MODE_MASK,
    uid: found.uid,
    gid: found.gid,
    modified_ms: Math.trunc(found.mtimeMs),
    target,
  };
}

/**
 * A file that says its size is sent with just that many bytes, as it was when it was opened, so that the reader knows
 * when it has all. Files of /proc say 0 and are read to their end.
 */
export async function sendFile(stream: Stream): Promise<void> {
  const channel = new Channel(stream);
  const path = pathFrom((await channel.opening()).path);
  const { handle, found } = await openRegular(path);
  try {
    channel.accept({ "godwit-file": fieldOf(entryFrom(path, found, null)) });
    void channel.listen();
    let left = found.size > 0 ? found.size : FILE_BYTES_MAX;
    while (left > 0) {
      // A buffer of its own each time: HTTP/2 keeps what it was given until it is sent.
      const piece = Buffer.allocUnsafe(Math.min(EXEC_PIECE_BYTES, left));
      const { bytesRead } = await handle.read(piece, 0, piece.length, null);
      if (bytesRead === 0) break;
      left -= bytesRead;
      if (!await channel.output(FrameKind.stdout, piece.subarray(0, bytesRead))) return;
    }
    if (found.size > 0 && left > 0) throw new Error(`${path} shrank while it was read`);
    await channel.end(WHOLE);
  } catch (error) {
    await channel.fail(refusalOf("read", path, error));
  } finally {
    await handle.close();
  }
}

/** As one header field, which holds visible ASCII (RFC 9110 section 5.5). */
function fieldOf(entry: FileEntry): string {
  const field = encodeURIComponent(JSON.stringify(entry));
  return field.length <= FIELD_BYTES_MAX
    ? field
    : encodeURIComponent(JSON.stringify({ ...entry, path: "/" }));
}

async function openRegular(path: string): Promise<{ handle: FileHandle; found: Stats }> {
  let handle: FileHandle | null = null;
  try {
    // A FIFO that nobody writes to would hold a thread; a device might do anything.
    handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
    const found = await handle.stat();
    if (found.isFile()) return { handle, found };
    throw new Refusal("guest.not_a_file", `Cannot read ${path}: it is not a file`);
  } catch (error) {
    await handle?.close();
    throw refusalOf("read", path, error);
  }
}

export interface WriteWish {
  readonly path: string;
  /** null: as it was, or 0644 for a new one. */
  readonly mode: number | null;
  readonly replace: boolean;
  /** Whose a new file is. */
  readonly owner: Identity;
}

/** The body is written beside its place and moved there at its end: whoever looks meanwhile sees the old file. */
export async function receiveFile(stream: Stream, wish: WriteWish): Promise<void> {
  const { path, before } = await placeOf(wish);
  const name = basename(path);
  if (name === "" || name.length > NAME_CHARS_MAX) {
    throw new Refusal("guest.path_invalid", `Cannot write ${wish.path}: its name is empty or too long`);
  }
  const temporary = join(dirname(path), `.${name}.godwit-${crypto.randomUUID().slice(0, 8)}`);
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  let handle: FileHandle | null = null;
  try {
    handle = await open(temporary, flags, 0o600);
    await receiveWhole(stream, handle);
    await handle.chown(before?.uid ?? wish.owner.uid, before?.gid ?? wish.owner.gid);
    // After chown, which takes the set-user-id bits away.
    await handle.chmod(wish.mode ?? (before === null ? MODE_DEFAULT : before.mode & MODE_MASK));
    await handle.sync();
    await handle.close();
    handle = null;
    await rename(temporary, path);
  } catch (error) {
    await handle?.close();
    await rm(temporary, { force: true });
    throw refusalOf("write", wish.path, error);
  }
  answer(stream, 200, await entryOf(path));
}

/** Frames, because a stream that breaks off and one that ends look the same at times; only `stdinEnd` says that it is all. */
async function receiveWhole(stream: Stream, handle: FileHandle): Promise<void> {
  const reader = new FrameReader("caller");
  let isWhole = false;
  // To the stream's end in any case: leaving the loop before would destroy it, and the answer with it.
  for await (const chunk of stream) {
    for (const { kind, payload } of reader.push(chunk)) {
      if (kind === FrameKind.stdinEnd) isWhole = true;
      else if (kind !== FrameKind.stdin) {
        throw new BootError("Cannot write a file from other frames than stdin");
      }
      await writeWhole(handle, payload);
      collectNowAndThen(payload.length);
    }
  }
  if (!isWhole) throw new Error("the worker broke off");
}

async function writeWhole(handle: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let rest = chunk; rest.length > 0;) {
    const { bytesWritten } = await handle.write(rest);
    rest = rest.subarray(bytesWritten);
  }
}

/** Where the file is to stand: behind a link that stands there, which is kept. */
async function placeOf({ path, replace }: WriteWish): Promise<{ path: string; before: Stats | null }> {
  try {
    const link = await lstat(path);
    if (!replace) {
      throw new Refusal("guest.file_exists", `Cannot write ${path}: it exists`, {
        status: 409,
        hint: "ask for it to be replaced",
      });
    }
    const place = link.isSymbolicLink() ? await realpath(path) : path;
    const before = await lstat(place);
    if (before.isFile()) return { path: place, before };
    throw new Refusal("guest.not_a_file", `Cannot write ${path}: it is not a file`);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return { path, before: null };
    throw refusalOf("write", path, error);
  }
}

/** The kernel's word, as what a person can act on. */
export function refusalOf(doing: string, path: string, error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  const code = codeOf(error);
  const message = `Cannot ${doing} ${path}: ${messageOf(error)}`;
  if (code === "ENOENT") return new Refusal("guest.file_not_found", message, { status: 404 });
  if (code === "EISDIR" || code === "ENOTDIR" || code === "ENXIO") {
    return new Refusal("guest.not_a_file", message);
  }
  if (code === "ENOSPC" || code === "EDQUOT") {
    return new Refusal("guest.disk_full", message, { fault: "app", status: 507 });
  }
  return new Refusal("guest.file_failed", message, { fault: "app", status: 422 });
}
