/**
 * Step files: what the machine is given beside its image, settings and secrets mostly. Each is written beside its place
 * and then moved there, so that a link which the image has in its place is replaced and not followed.
 */
import { chmodSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import type { RunConfig } from "../../control/contract/run-config.ts";
import { BootError, messageOf } from "../system/error.ts";
import { insideRoot } from "./inside-root.ts";
import { skip, type Skipped } from "./life.ts";

export function writeFiles(files: RunConfig["files"]): void | Skipped {
  if (files === undefined || files.length === 0) return skip("the run configuration has no files");
  for (const file of files) {
    try {
      writeFile(file);
    } catch (error) {
      throw new BootError(`Cannot write the file ${file.path}: ${messageOf(error)}`);
    }
  }
}

function writeFile({ path, base64, mode }: NonNullable<RunConfig["files"]>[number]): void {
  const target = insideRoot(path);
  const draft = `${target}.godwit-new`;
  mkdirSync(dirname(target), { recursive: true });
  // Whatever stands under this name, a link included, is in the way.
  rmSync(draft, { force: true });
  writeFileSync(draft, Buffer.from(base64, "base64"), { mode: 0o600, flag: "wx" });
  // Apart from the writing, because the umask would take bits away.
  chmodSync(draft, mode);
  renameSync(draft, target);
}
