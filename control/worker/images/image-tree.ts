/**
 * The files of an image, as its layers make them one after the other (image-spec v1.1, layer.md), in memory: names, owners,
 * modes, and where in which layer each file's content stands. Nothing is written anywhere, so no name can lead out of
 * the image. Names that look as if they were meant to are refused all the same: whoever else unpacks this image would be
 * led out by them, and the message says which entry of which layer it is.
 *
 * Refused are names that hold `..`, links whose target climbs above the image's root, and names that
 * pass through a symlink with an absolute target: read on this host they would lead out of the image. Absolute
 * targets as such are fine (/etc/alternatives is full of them), a VM reads them in its own root.
 */
import { GodwitError } from "../../contract/errors.ts";
import type { EntryType, TarEntry } from "./tar-reader.ts";

const NAME_BYTES_MAX = 4_096;
/** Of one part of a name: what file systems have room for (NAME_MAX, limits.h). */
const PART_BYTES_MAX = 255;
const DEPTH_MAX = 256;
/** The kernel's own bound (path_resolution(7)). */
const LINKS_FOLLOWED_MAX = 40;
/** Folders that no layer names, but files in them. */
const IMPLICIT_FOLDER_MODE = 0o755;

const WHITEOUT = ".wh.";
const OPAQUE = ".wh..wh..opq";
/** Marks of an overlay on the machine that built the image; in a guest they would hide files of the image itself. */
const XATTRS_DROPPED = /^trusted\.overlay\./;

export interface EntryLimits {
  readonly bytesMax: number;
  readonly filesMax: number;
}
/** One layer, for messages: its place counted from 1, and its digest. */
export interface LayerName {
  readonly number: number;
  readonly digest: string;
}

/** What a name stands for; several names share one by hard links. */
export interface Inode {
  readonly type: Exclude<EntryType, "link">;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeS: number;
  readonly mtimeNs: number;
  readonly size: number;
  /** Of a symlink. */
  readonly target: string;
  readonly devmajor: number;
  readonly devminor: number;
  readonly xattrs: ReadonlyMap<string, Uint8Array>;
  /** Of a file with content: the layer's place counted from 1, the offset in its plain tar. */
  readonly content: { readonly layer: number; readonly offset: number };
}

export interface Node {
  inode: Inode;
  /** The last layer that named it. */
  layer: number;
  readonly children: Map<string, Node>;
}

export class ImageTree {
  readonly root: Node = { inode: implicitFolder(), layer: 0, children: new Map() };
  readonly #ref: string;
  readonly #limits: EntryLimits;
  #bytes = 0;
  #files = 0;

  constructor(ref: string, limits: EntryLimits) {
    this.#ref = ref;
    this.#limits = limits;
  }

  /** Of all files of all layers so far, hidden ones too. */
  get bytes(): number {
    return this.#bytes;
  }

  /** @throws GodwitError `image.layer_unsafe`, `image.too_large`, `image.too_many_files` */
  admit(layer: LayerName, entry: TarEntry): void {
    const refuse = (why: string) => this.#unsafe(layer, entry, why);
    this.#count(entry);
    const parts = partsOf(entry.name, refuse);
    const base = parts.pop();
    if (base === undefined) {
      if (entry.type === "directory") this.root.inode = inodeOf(entry, layer);
      return;
    }
    const parent = this.#walk(parts, refuse);
    if (base.startsWith(WHITEOUT)) return this.#whiteout(layer, parent, base, refuse);
    const inode = entry.type === "link" ? this.#linked(entry, refuse) : inodeOf(entry, layer);
    // A hard link to a symlink is that symlink at another place, where the same target may climb higher.
    if (inode.type === "symlink") checkTarget(inode.target, parent.length, refuse);
    const folder = this.#make(parent, layer.number, refuse);
    const present = folder.children.get(base);
    if (present !== undefined && inode.type === "directory" && present.inode.type === "directory") {
      present.inode = inode;
      present.layer = layer.number;
    } else folder.children.set(base, { inode, layer: layer.number, children: new Map() });
  }

  #count(entry: TarEntry): void {
    this.#files += 1;
    this.#bytes += entry.size;
    if (this.#files > this.#limits.filesMax) {
      throw new GodwitError(
        "image.too_many_files",
        `Cannot use image ${this.#ref}: it holds more than ${this.#limits.filesMax} files`,
        { fault: "app", hint: "leave out what the app does not need, or raise the worker's files_max" },
      );
    }
    if (this.#bytes > this.#limits.bytesMax) throw tooLarge(this.#ref, this.#limits.bytesMax);
  }

  #linked(entry: TarEntry, refuse: Refuse): Inode {
    const parts = partsOf(entry.linkname, (why) => refuse(`it is a hard link and its target ${why}`));
    const base = parts.pop();
    if (base === undefined) throw refuse("it is a hard link to the root");
    const target = this.#find([...this.#walk(parts, refuse), base]);
    if (target === null) throw refuse(`it is a hard link to ${shown(entry.linkname)}, which is not there`);
    if (target.inode.type === "directory") {
      throw refuse(`it is a hard link to the folder ${shown(entry.linkname)}`);
    }
    return target.inode;
  }

  /** Hides what older layers have; what this one has brought already stays (layer.md, "Whiteouts"). */
  #whiteout(layer: LayerName, parent: string[], base: string, refuse: Refuse): void {
    const folder = this.#find(parent);
    if (base === OPAQUE) {
      if (folder !== null) dropOlder(folder, layer.number);
      return;
    }
    const removed = base.slice(WHITEOUT.length);
    if (removed === "" || removed === "." || removed === "..") throw refuse("it is a whiteout of no name");
    const node = folder?.children.get(removed);
    if (node === undefined) return;
    dropOlder(node, layer.number);
    if (node.layer < layer.number && node.children.size === 0) folder?.children.delete(removed);
  }

  /** The real place of these parts, symlinks followed, as path_resolution(7) has it. */
  #walk(parts: readonly string[], refuse: Refuse): string[] {
    const todo = [...parts].reverse();
    let real: string[] = [];
    let followed = 0;
    for (let part = todo.pop(); part !== undefined; part = todo.pop()) {
      if (part === "..") {
        if (real.length === 0) throw refuse("it passes through a symlink out of the image");
        real = real.slice(0, -1);
        continue;
      }
      const inode = this.#find([...real, part])?.inode;
      if (inode?.type !== "symlink") {
        real.push(part);
        continue;
      }
      const at = [...real, part].join("/");
      if (++followed > LINKS_FOLLOWED_MAX) throw refuse(`it passes through a loop of symlinks at ${at}`);
      if (inode.target.startsWith("/")) {
        throw refuse(`it passes through the symlink ${at} to ${shown(inode.target)}`);
      }
      todo.push(...inode.target.split("/").filter((p) => p !== "" && p !== ".").reverse());
    }
    if (real.length >= DEPTH_MAX) throw refuse(`it lies more than ${DEPTH_MAX} folders deep`);
    return real;
  }

  #find(parts: readonly string[]): Node | null {
    let node: Node | undefined = this.root;
    for (const part of parts) {
      node = node.children.get(part);
      if (node === undefined) return null;
    }
    return node;
  }

  #make(parts: readonly string[], layer: number, refuse: Refuse): Node {
    let node = this.root;
    for (const [i, part] of parts.entries()) {
      let child = node.children.get(part);
      if (child === undefined) {
        node.children.set(part, child = { inode: implicitFolder(), layer, children: new Map() });
      }
      if (child.inode.type !== "directory") {
        throw refuse(`${shown(parts.slice(0, i + 1).join("/"))} is no folder`);
      }
      node = child;
    }
    return node;
  }

  #unsafe(layer: LayerName, entry: TarEntry, why: string): GodwitError {
    return new GodwitError(
      "image.layer_unsafe",
      `Cannot use image ${this.#ref}: entry ${
        shown(entry.name.slice(0, 200))
      } of layer ${layer.number} (${layer.digest}) is unsafe: ${why}`,
      { fault: "app", hint: "build this layer again with a tool that writes names below the image's root" },
    );
  }
}

type Refuse = (why: string) => GodwitError;

function inodeOf(entry: TarEntry, layer: LayerName): Inode {
  const { type, mode, uid, gid, mtimeS, mtimeNs, size, linkname, devmajor, devminor, xattrs, offset } = entry;
  return {
    type: type === "link" ? "file" : type,
    // Nobody reads a symlink's own mode; Linux shows 777 for all.
    mode: type === "symlink" ? 0o777 : mode,
    uid,
    gid,
    mtimeS,
    mtimeNs,
    size: type === "symlink" ? linkname.length : size,
    target: type === "symlink" ? linkname : "",
    devmajor,
    devminor,
    xattrs: kept(xattrs),
    content: { layer: layer.number, offset },
  };
}

function kept(xattrs: ReadonlyMap<string, Uint8Array>): ReadonlyMap<string, Uint8Array> {
  if (xattrs.size === 0) return xattrs;
  return new Map([...xattrs].filter(([name]) => !XATTRS_DROPPED.test(name)));
}

function implicitFolder(): Inode {
  return {
    type: "directory",
    mode: IMPLICIT_FOLDER_MODE,
    uid: 0,
    gid: 0,
    mtimeS: 0,
    mtimeNs: 0,
    size: 0,
    target: "",
    devmajor: 0,
    devminor: 0,
    xattrs: new Map(),
    content: { layer: 0, offset: 0 },
  };
}

function checkTarget(target: string, depthOfLink: number, refuse: Refuse): void {
  if (target.length === 0 || target.length > NAME_BYTES_MAX) throw refuse("its target is empty or too long");
  if (target.includes("\0")) throw refuse("its target holds a NUL");
  if (target.startsWith("/")) return;
  let depth = depthOfLink;
  for (const part of target.split("/")) {
    if (part === "..") depth -= 1;
    else if (part !== "" && part !== ".") depth += 1;
    if (depth < 0) throw refuse(`it is a symlink out of the image, to ${shown(target)}`);
  }
}

/** A leading `/` means the image's root, as every unpacker reads it: ko and buildpacks write such names. */
function partsOf(name: string, refuse: Refuse): string[] {
  if (name.includes("\0")) throw refuse("its name holds a NUL");
  if (name.length === 0 || name.length > NAME_BYTES_MAX) throw refuse("its name is empty or too long");
  const parts = name.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.includes("..")) throw refuse("its name climbs with ..");
  if (parts.some((part) => part.length > PART_BYTES_MAX)) {
    throw refuse(`a part of its name is longer than ${PART_BYTES_MAX} bytes`);
  }
  return parts;
}

function dropOlder(node: Node, layer: number): void {
  for (const [name, child] of node.children) {
    dropOlder(child, layer);
    if (child.layer < layer && child.children.size === 0) node.children.delete(name);
  }
}

/** Names are bytes, one a character; people read UTF-8. */
function shown(name: string): string {
  return JSON.stringify(Buffer.from(name, "latin1").toString("utf8"));
}

export function tooLarge(ref: string, bytesMax: number): GodwitError {
  return new GodwitError(
    "image.too_large",
    `Cannot use image ${ref}: it is larger than ${Math.floor(bytesMax / 1_048_576)} MB`,
    { fault: "app", hint: "leave out what the app does not need, or raise the worker's image_mb_max" },
  );
}
