/** Finds the file that a command names, as execvp(3) does, but says clearly why there is none. */
import { statSync } from "node:fs";
import { resolve } from "node:path";
import { BootError, codeOf } from "../system/error.ts";

/** What a look at one path gives: a file's mode, another kind of thing, or nothing. */
export type Look = (path: string) => { readonly isFile: boolean; readonly mode: number } | null;

const ANY_EXECUTE = 0o111;

export function findExecutable(
  name: string,
  path: string,
  workingFolder: string,
  look: Look = lookAt,
): string {
  const inPath = !name.includes("/");
  const candidates = inPath
    ? path.split(":").map((folder) => resolve(workingFolder, folder, name))
    : [resolve(workingFolder, name)];
  let refused: string | null = null;
  for (const candidate of candidates) {
    const met = look(candidate);
    if (met === null) continue;
    if (met.isFile && (met.mode & ANY_EXECUTE) !== 0) return candidate;
    refused ??= met.isFile
      ? `permission denied: ${candidate} has mode ${(met.mode & 0o7777).toString(8).padStart(4, "0")}`
      : `permission denied: ${candidate} is not a file`;
  }
  const missing = inPath
    ? `executable not found in PATH (${path})`
    : `executable not found: no file ${candidates[0]}`;
  throw new BootError(`Cannot run "${name}": ${refused ?? missing}`);
}

function lookAt(path: string): ReturnType<Look> {
  try {
    const found = statSync(path);
    return { isFile: found.isFile(), mode: found.mode };
  } catch (error) {
    const code = codeOf(error);
    if (code === "ENOENT" || code === "ENOTDIR" || code === "ELOOP") return null;
    throw error;
  }
}
