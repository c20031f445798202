/** Step user: whom the image and the processes name, in the image's own /etc/passwd and /etc/group; volumes become theirs. */
import { chownSync, readFileSync } from "node:fs";
import type { RunConfig } from "../../control/contract/run-config.ts";
import { resolveUser, type User } from "../child/user.ts";
import { BootError, codeOf, messageOf } from "../system/error.ts";

/** One for each process, in their order; the image's where none is listed. */
export function findUsers({ image, processes = [] }: Pick<RunConfig, "image" | "processes">): User[] {
  const passwd = readOptional("/etc/passwd");
  const group = readOptional("/etc/group");
  const wanted = processes.length === 0 ? [image.user] : processes.map(({ user }) => user ?? image.user);
  return wanted.map((user) => resolveUser(user, passwd, group));
}

/** The mount points alone: what lies below is as it was left. */
export function giveVolumes(volumes: RunConfig["volumes"], { uid, gid }: User): void {
  for (const { path, read_only } of volumes ?? []) {
    if (read_only) continue;
    try {
      chownSync(path, uid, gid);
    } catch (error) {
      throw new BootError(`Cannot give the volume at ${path} to user ${uid}:${gid}: ${messageOf(error)}`);
    }
  }
}

/** An image FROM scratch has neither file; numbers work without. */
function readOptional(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return "";
    throw error;
  }
}
