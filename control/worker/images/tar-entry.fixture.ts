/** A tar entry for tests: what a test is about, the rest as a plain file of root has it. */
import type { TarEntry } from "./tar-reader.ts";

export function tarEntry(entry: Pick<TarEntry, "name" | "type"> & Partial<TarEntry>): TarEntry {
  return {
    linkname: "",
    size: 0,
    mode: 0o644,
    uid: 0,
    gid: 0,
    mtimeS: 1_700_000_000,
    mtimeNs: 0,
    devmajor: 0,
    devminor: 0,
    xattrs: new Map(),
    offset: 512,
    ...entry,
  };
}
