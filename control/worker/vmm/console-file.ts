/** Reads the console of a VM, a file that its VMM appends to; bounded, since a guest can write as much as it likes. */
import { closeSync, existsSync, fstatSync, openSync, readSync, statSync } from "node:fs";
import { join } from "node:path";
import { CONSOLE_TAIL_BYTES, type VmmName } from "./driver.ts";

export function consoleFile(folder: string): string {
  return join(folder, "console.log");
}

/** What the VMM itself says, of its last start alone. */
export function vmmOutputFile(folder: string): string {
  return join(folder, "qemu.log");
}

/** The same of Firecracker and its jailer. */
export function firecrackerOutputFile(folder: string): string {
  return join(folder, "firecracker.log");
}

/** All that a guest or its VMM can make grow. */
export function growingFiles(vmm: VmmName, folder: string): string[] {
  const output = { qemu: [vmmOutputFile], firecracker: [firecrackerOutputFile], runc: [] }[vmm];
  return [consoleFile, ...output].map((fileOf) => fileOf(folder));
}

export function consoleSize(folder: string): number {
  const file = consoleFile(folder);
  return existsSync(file) ? statSync(file).size : 0;
}

/** At most CONSOLE_TAIL_BYTES from the end, none of them before `from` (where this boot began). */
export function readConsoleTail(folder: string, from = 0): string {
  return readTail(consoleFile(folder), from);
}

/** The same of any file; empty where there is none. */
export function readTail(file: string, from = 0): string {
  if (!existsSync(file)) return "";
  const fd = openSync(file, "r");
  try {
    const size = fstatSync(fd).size;
    // Housekeeping cuts the file: an offset beyond its end says nothing any more.
    const start = Math.max(from > size ? 0 : from, size - CONSOLE_TAIL_BYTES);
    const bytes = Buffer.alloc(size - start);
    return bytes.subarray(0, readSync(fd, bytes, 0, bytes.length, start)).toString("utf8");
  } finally {
    closeSync(fd);
  }
}
