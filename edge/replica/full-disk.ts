/** Whether a failure means that the disk is full: by what SQLite and the file system call it. */
import { messageOf } from "../../control/contract/errors.ts";

export function isFull(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException | null)?.code ?? "";
  return /ENOSPC|EDQUOT|SQLITE_FULL|disk is full|no space left/i.test(`${code} ${messageOf(error)}`);
}
