/**
 * Where a path of the run configuration leads. The root is vm-init's own, so no link can lead out of it; but an image's
 * link may lead to what is the kernel's or vm-init's, and nothing is made there.
 */
import { realpathSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { BootError, codeOf } from "../system/error.ts";

const NOT_THE_USERS = ["/proc", "/sys", "/dev", "/.godwit"];

/** The path with every link in it followed, but for its last name. @throws BootError where it is not the user's */
export function insideRoot(path: string, real: (path: string) => string = realpathSync): string {
  const target = join(realFolder(dirname(path), real), basename(path));
  const owned = NOT_THE_USERS.find((folder) => target === folder || target.startsWith(`${folder}/`));
  if (owned === undefined && target !== "/") return target;
  throw new BootError(`${path} leads to ${target}, which is not the image's`);
}

/** The deepest folder that is there, its links followed, and below it what is not there yet. */
function realFolder(folder: string, real: (path: string) => string): string {
  try {
    return real(folder);
  } catch (error) {
    if (codeOf(error) !== "ENOENT" || folder === "/") throw error;
    return join(realFolder(dirname(folder), real), basename(folder));
  }
}
