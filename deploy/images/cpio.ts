/** A cpio archive in the newc form that the kernel unpacks (initramfs buffer format). Same entries, same bytes. */

const TYPE = { folder: 0o040000, file: 0o100000, link: 0o120000 } as const;

export interface CpioEntry {
  /** Without a leading slash. Parents come first. */
  readonly path: string;
  readonly type: keyof typeof TYPE;
  readonly mode: number;
  /** A file's bytes, a link's target. */
  readonly data?: Uint8Array;
}

export function cpioArchive(entries: readonly CpioEntry[]): Uint8Array {
  const parts = entries.flatMap((entry, index) => record(entry, index + 1));
  return Buffer.concat([...parts, ...record({ path: "TRAILER!!!", type: "file", mode: 0 }, 0)]);
}

function record({ path, type, mode, data = new Uint8Array(0) }: CpioEntry, inode: number): Uint8Array[] {
  const name = Buffer.from(`${path}\0`);
  const typed = path === "TRAILER!!!" ? 0 : TYPE[type] | mode;
  // ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
  const fields = [inode, typed, 0, 0, 1, 0, data.length, 0, 0, 0, 0, name.length, 0];
  const header = Buffer.from("070701" + fields.map((field) => field.toString(16).padStart(8, "0")).join(""));
  return [header, name, padding(header.length + name.length), data, padding(data.length)];
}

function padding(length: number): Uint8Array {
  return new Uint8Array((4 - (length % 4)) % 4);
}
