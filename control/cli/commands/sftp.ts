/** godwit ssh sftp get | put | ls | find: files of a machine, over the API. */
import { existsSync, statSync } from "node:fs";
import { open, rename, rm } from "node:fs/promises";
import { basename, dirname, join, posix } from "node:path";
import { GodwitError, messageOf } from "../../contract/errors.ts";
import { FileEntry } from "../../contract/guest-api.ts";
import { LIST_DEPTH_MAX } from "../../contract/guest-limits.ts";
import type { ApiClient } from "../api-client.ts";
import { chooseMachine } from "../machine-id.ts";
import { Progress } from "../progress.ts";
import type { Session } from "../session.ts";
import { plainText } from "../plain-text.ts";
import { table } from "../table.ts";

export interface ListFlags {
  readonly machine?: string;
}
export interface GetFlags extends ListFlags {
  readonly force?: true;
}
export interface PutFlags extends GetFlags {
  readonly mode?: string;
}

export async function getFile(
  session: Session,
  remote: string,
  local: string | undefined,
  flags: GetFlags,
): Promise<void> {
  const place = localPlace(local ?? ".", posix.basename(remote));
  refuseOverwrite(place, existsSync(place), flags);
  const api = await session.api();
  const machine = await chooseMachine(session, api, flags.machine);
  const answer = await api.rest(pathTo(machine, "files", { path: absolute(remote) }));
  const entry = FileEntry.parse(JSON.parse(decodeURIComponent(answer.headers.get("godwit-file") ?? "")));
  const bytes = await save(answer.body, entry, place, session);
  session.result(
    { machine, remote: entry.path, local: place, size_bytes: bytes },
    `${plainText(entry.path)} → ${place}, ${bytes} bytes`,
  );
}

/** Beside its place first: what is there appears whole or not at all. */
async function save(
  body: ReadableStream<Uint8Array> | null,
  entry: FileEntry,
  place: string,
  session: Session,
): Promise<number> {
  const temporary = join(dirname(place), `.${basename(place)}.godwit-${process.pid}`);
  const progress = new Progress(session, posix.basename(entry.path), entry.size_bytes || null);
  try {
    const file = await open(temporary, "wx", entry.mode & 0o777);
    let bytes = 0;
    try {
      for await (const chunk of body ?? []) {
        await writeWhole(file, chunk);
        progress.at(bytes += chunk.length);
      }
    } finally {
      await file.close();
    }
    if (bytes < entry.size_bytes) throw new Error(`it ended after ${bytes} of ${entry.size_bytes} bytes`);
    await rename(temporary, place);
    return bytes;
  } catch (error) {
    await rm(temporary, { force: true });
    throw failed(`copy ${plainText(entry.path)} to ${place}`, error);
  } finally {
    progress.end();
  }
}

async function writeWhole(
  file: { write(bytes: Uint8Array): Promise<{ bytesWritten: number }> },
  chunk: Uint8Array,
) {
  for (let rest = chunk; rest.length > 0;) {
    const { bytesWritten } = await file.write(rest);
    rest = rest.subarray(bytesWritten);
  }
}

export async function putFile(
  session: Session,
  local: string,
  remote: string | undefined,
  flags: PutFlags,
): Promise<void> {
  if (flags.mode !== undefined && !/^[0-7]{1,4}$/.test(flags.mode)) {
    throw new GodwitError("cli.mode_invalid", `${JSON.stringify(flags.mode)} is not an octal mode`, {
      fault: "client",
      hint: "for example 0644",
    });
  }
  const found = statSync(local, { throwIfNoEntry: false });
  if (found?.isFile() !== true) {
    throw new GodwitError("cli.no_file", `Cannot copy ${local}: it is not a file here`, { fault: "client" });
  }
  const target = absolute(remotePlace(remote ?? "/", basename(local)));
  const api = await session.api();
  const machine = await chooseMachine(session, api, flags.machine);
  const progress = new Progress(session, basename(local), found.size);
  const query = {
    path: target,
    mode: flags.mode ?? (found.mode & 0o777).toString(8),
    ...(flags.force ? { replace: "1" } : {}),
  };
  try {
    const answer = await api.stream("PUT", pathTo(machine, "files", query), counted(local, progress));
    const entry = FileEntry.parse(await answer.json());
    session.result(
      { machine, local, remote: entry.path, size_bytes: entry.size_bytes, mode: entry.mode.toString(8) },
      `${local} → ${plainText(entry.path)}, ${entry.size_bytes} bytes`,
    );
  } catch (error) {
    if (error instanceof GodwitError && error.code === "guest.file_exists") throw exists(target);
    throw error;
  } finally {
    progress.end();
  }
}

function counted(local: string, progress: Progress): ReadableStream<Uint8Array> {
  const reader = Bun.file(local).stream().getReader();
  let bytes = 0;
  return new ReadableStream({
    async pull(controller) {
      const { value, done } = await reader.read();
      if (done) return controller.close();
      progress.at(bytes += value.length);
      controller.enqueue(value);
    },
    cancel: () => reader.cancel(),
  }, { highWaterMark: 0 });
}

export async function listFolder(session: Session, remote: string, flags: ListFlags): Promise<void> {
  const { machine, entries: [own, ...inside] } = await list(session, remote, 1, flags);
  const entries = own?.kind === "folder" || inside.length > 0 ? inside : own === undefined ? [] : [own];
  entries.sort((a, b) => a.path < b.path ? -1 : 1);
  const rows = entries.map((entry) => ({
    mode: modeInWords(entry),
    owner: `${entry.uid}:${entry.gid}`,
    size: String(entry.size_bytes),
    modified: new Date(entry.modified_ms).toISOString().slice(0, 19),
    name: plainText(posix.basename(entry.path) + (entry.target === null ? "" : ` → ${entry.target}`)),
  }));
  session.result({ machine, entries }, table(rows, `${remote} is empty`));
}

export async function findPaths(session: Session, remote: string, flags: ListFlags): Promise<void> {
  const { machine, entries } = await list(session, remote, LIST_DEPTH_MAX, flags);
  const paths = entries.map(({ path }) => path).sort();
  session.result({ machine, paths }, paths.map(plainText).join("\n"));
}

async function list(session: Session, remote: string, depth: number, flags: ListFlags) {
  const api = await session.api();
  const machine = await chooseMachine(session, api, flags.machine);
  return { machine, entries: await readList(api, machine, absolute(remote), depth) };
}

async function readList(api: ApiClient, machine: string, path: string, depth: number): Promise<FileEntry[]> {
  const answer = await api.rest(pathTo(machine, "list", { path, depth: String(depth) }));
  try {
    const text = await answer.text();
    return text.split("\n").filter((line) => line !== "").map((line) => FileEntry.parse(JSON.parse(line)));
  } catch (error) {
    throw failed(`list ${plainText(path)}`, error);
  }
}

const pathTo = (machine: string, verb: string, query: Record<string, string>) =>
  `/v1/machines/${machine}/${verb}?${new URLSearchParams(query)}`;

/** What a person calls `etc/hosts` stands at the root: a machine has no home of one's own. */
function absolute(remote: string): string {
  return posix.resolve("/", remote);
}

/** Pure: a folder, or what ends like one, takes the file's own name. */
export function remotePlace(remote: string, name: string): string {
  return remote.endsWith("/") ? `${remote}${name}` : remote;
}

function localPlace(local: string, name: string): string {
  // The name comes from what was typed, never from the machine.
  return statSync(local, { throwIfNoEntry: false })?.isDirectory() ? join(local, name) : local;
}

function refuseOverwrite(place: string, isThere: boolean, flags: GetFlags): void {
  if (isThere && !flags.force) throw exists(place);
}

function exists(place: string): GodwitError {
  return new GodwitError("cli.file_exists", `${plainText(place)} exists`, {
    fault: "client",
    hint: "--force replaces it",
  });
}

function failed(doing: string, error: unknown): GodwitError {
  if (error instanceof GodwitError) return error;
  return new GodwitError("cli.copy_failed", `Cannot ${doing}: ${messageOf(error)}`, {
    fault: "us",
    retryable: true,
    cause: error,
  });
}

/** As `ls -l` writes it. */
export function modeInWords({ kind, mode }: Pick<FileEntry, "kind" | "mode">): string {
  const letters = "rwxrwxrwx";
  const bits = [...letters].map((letter, at) => (mode & (0o400 >> at)) === 0 ? "-" : letter);
  const special = [[0o4000, 2, "s"], [0o2000, 5, "s"], [0o1000, 8, "t"]] as const;
  for (const [bit, at, letter] of special) {
    if ((mode & bit) !== 0) bits[at] = bits[at] === "-" ? letter.toUpperCase() : letter;
  }
  return { file: "-", folder: "d", link: "l", other: "?" }[kind] + bits.join("");
}
