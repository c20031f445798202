/** Step user: whom the image names, in its own /etc/passwd and /etc/group. */
import { readFileSync } from "node:fs";
import { resolveUser, type User } from "../child/user.ts";
import { codeOf } from "../system/error.ts";

export function findUser(wanted: string): User {
  return resolveUser(wanted, readOptional("/etc/passwd"), readOptional("/etc/group"));
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
