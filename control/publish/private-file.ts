/** A file of mode 0600 that is made where missing, once: of several processes that start together all read one content. */
import { chmodSync, linkSync, mkdirSync, readFileSync, statSync, unlinkSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

/** @param make the content where there is no such file */
export function readPrivateFile(file: string, make: () => string): string {
  if (statSync(file, { throwIfNoEntry: false }) === undefined) create(file, make());
  if ((statSync(file).mode & 0o077) !== 0) chmodSync(file, 0o600);
  return readFileSync(file, "utf8");
}

function create(file: string, content: string): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const draft = `${file}.${process.pid}.${crypto.randomUUID()}`;
  writeFileSync(draft, content, { mode: 0o600, flag: "wx" });
  try {
    linkSync(draft, file);
  } catch (error) {
    // EEXIST: another process made it first, and its content is the one to use (link(2)).
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    unlinkSync(draft);
  }
}
