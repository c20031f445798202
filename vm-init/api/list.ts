/** `POST /v1/list`: a path and what lies in it, one line an entry, at the pace of whoever reads. */
import { type Dir, lstatSync, type Stats } from "node:fs";
import { opendir } from "node:fs/promises";
import { join } from "node:path";
import { FrameKind } from "../../control/contract/exec-frames.ts";
import type { FileEntry } from "../../control/contract/guest-api.ts";
import { LIST_DEPTH_MAX, LIST_ENTRIES_MAX } from "../../control/contract/guest-limits.ts";
import { BootError } from "../system/error.ts";
import type { Stream } from "./answer.ts";
import { Channel } from "./channel.ts";
import { entryOf, pathFrom, refusalOf, WHOLE } from "./files.ts";

const LINES_A_WRITE = 64;

/**
 * Folders before what is in them, in no other order. Links are told and not followed; another file system (/proc, /sys)
 * is told and not entered. What vanishes meanwhile is passed over.
 */
export async function* entriesBelow(path: string, depth: number): AsyncGenerator<FileEntry, void, void> {
  const first = await entryOf(path);
  yield first;
  // What the caller names may be a link to a folder: that one is looked into.
  const isFolder = first.kind === "folder" || (first.kind === "link" && leadsToFolder(path));
  if (!isFolder || depth < 1) return;
  const device = deviceOf(path);
  const waiting: { path: string; depth: number }[] = [{ path, depth: Math.min(depth, LIST_DEPTH_MAX) }];
  let count = 0;
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    let folder: Dir;
    try {
      folder = await opendir(next.path);
    } catch (error) {
      if (next.path === path) throw refusalOf("list", path, error);
      continue;
    }
    for await (const { name } of folder) {
      const below = join(next.path, name);
      const entry = await entryOf(below).catch(() => null);
      if (entry === null) continue;
      if (++count > LIST_ENTRIES_MAX) return;
      yield entry;
      if (entry.kind === "folder" && next.depth > 1 && deviceOf(below) === device) {
        waiting.push({ path: below, depth: next.depth - 1 });
      }
    }
  }
}

export async function sendList(stream: Stream): Promise<void> {
  const channel = new Channel(stream);
  const { path, depth } = await channel.opening();
  if (typeof depth !== "number" || !(depth >= 0)) {
    throw new BootError("Cannot list: depth must be a number from 0");
  }
  const entries = entriesBelow(pathFrom(path), depth);
  // The first one tells whether there is such a path: what is wrong with it is answered as a refusal.
  const first = await entries.next();
  channel.accept();
  void channel.listen();
  try {
    let lines = first.done === true ? [] : [JSON.stringify(first.value)];
    for await (const entry of entries) {
      if (lines.push(JSON.stringify(entry)) < LINES_A_WRITE) continue;
      if (!await channel.output(FrameKind.stdout, Buffer.from(lines.join("\n") + "\n"))) return;
      lines = [];
    }
    if (lines.length > 0) await channel.output(FrameKind.stdout, Buffer.from(lines.join("\n") + "\n"));
    await channel.end(WHOLE);
  } catch (error) {
    await channel.fail(error);
  }
}

function look(path: string): Stats | null {
  try {
    return lstatSync(path);
  } catch {
    return null; // It vanished.
  }
}

function deviceOf(path: string): number | null {
  return look(path)?.dev ?? null;
}

function leadsToFolder(path: string): boolean {
  return look(`${path}/`)?.isDirectory() ?? false;
}
