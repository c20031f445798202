/**
 * The rules that every entry of every layer must keep before anything is written to disk. umoci resolves names inside the
 * root by itself; this is the second lock, and the one that can say which entry of which layer is at fault.
 *
 * A tree of the symlinks seen so far (over all layers, whiteouts applied) lets it walk each name as the kernel would.
 * Refused are names that hold `..`, links whose target climbs above the image's root, and names that
 * pass through a symlink with an absolute target: read on this host they would lead out of the image. Absolute
 * targets as such are fine (/etc/alternatives is full of them), a VM reads them in its own root.
 */
import { GodwitError } from "../../contract/errors.ts";

const NAME_BYTES_MAX = 4_096;
/** The kernel's own bound (path_resolution(7)). */
const LINKS_FOLLOWED_MAX = 40;

const WHITEOUT = ".wh.";
const OPAQUE = ".wh..wh..opq";

export interface EntryLimits {
  readonly bytesMax: number;
  readonly filesMax: number;
}
export interface Entry {
  readonly name: string;
  readonly type: string;
  readonly size: number;
  readonly linkname: string | null;
}
/** One layer, for messages: its place counted from 1, and its digest. */
export interface LayerName {
  readonly number: number;
  readonly digest: string;
}

interface Node {
  link: { readonly target: string; readonly layer: number } | null;
  readonly children: Map<string, Node>;
}

export class LayerEntries {
  readonly #ref: string;
  readonly #limits: EntryLimits;
  readonly #root: Node = { link: null, children: new Map() };
  #bytes = 0;
  #files = 0;

  constructor(ref: string, limits: EntryLimits) {
    this.#ref = ref;
    this.#limits = limits;
  }

  /** Of all files of all layers so far. */
  get bytes(): number {
    return this.#bytes;
  }
  get files(): number {
    return this.#files;
  }

  /** @throws GodwitError `image.layer_unsafe`, `image.too_large`, `image.too_many_files` */
  admit(layer: LayerName, entry: Entry): void {
    const refuse = (why: string) => this.#unsafe(layer, entry, why);
    this.#count(entry);
    const parts = partsOf(entry.name, refuse);
    const base = parts.pop();
    if (base === undefined) return; // the root itself
    const parent = this.#walk(parts, refuse);
    if (base.startsWith(WHITEOUT)) return this.#whiteout(layer, parent, base, refuse);
    if (entry.type === "symlink") {
      return this.#putLink(layer, parent, base, entry.linkname ?? "", refuse);
    }
    if (entry.type === "link") {
      const targetParts = partsOf(
        entry.linkname ?? "",
        (why) => refuse(`it is a hard link and its target ${why}`),
      );
      const targetBase = targetParts.pop();
      if (targetBase === undefined) throw refuse("it is a hard link to the root");
      const target = this.#find([...this.#walk(targetParts, refuse), targetBase]);
      // A hard link to a symlink is that symlink at another place, where the same target may climb higher.
      if (target?.link != null) return this.#putLink(layer, parent, base, target.link.target, refuse);
    }
    const node = this.#find([...parent, base]);
    if (node !== null && entry.type === "directory") node.link = null;
    else if (node !== null) this.#find(parent)?.children.delete(base);
  }

  #count(entry: Entry): void {
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

  #putLink(layer: LayerName, parent: string[], base: string, target: string, refuse: Refuse): void {
    if (target.length === 0 || target.length > NAME_BYTES_MAX) {
      throw refuse("its target is empty or too long");
    }
    if (target.includes("\0")) throw refuse("its target holds a NUL");
    if (!target.startsWith("/")) {
      let depth = parent.length;
      for (const part of target.split("/")) {
        if (part === "..") depth -= 1;
        else if (part !== "" && part !== ".") depth += 1;
        if (depth < 0) throw refuse(`it is a symlink out of the image, to ${JSON.stringify(target)}`);
      }
    }
    this.#make(parent).children.set(base, { link: { target, layer: layer.number }, children: new Map() });
  }

  #whiteout(layer: LayerName, parent: string[], base: string, refuse: Refuse): void {
    const node = this.#find(parent);
    if (base === OPAQUE) {
      if (node !== null) dropOlder(node, layer.number);
      return;
    }
    const removed = base.slice(WHITEOUT.length);
    if (removed === "" || removed === "." || removed === "..") throw refuse("it is a whiteout of no name");
    node?.children.delete(removed);
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
      const link = this.#find([...real, part])?.link ?? null;
      if (link === null) {
        real.push(part);
        continue;
      }
      const at = [...real, part].join("/");
      if (++followed > LINKS_FOLLOWED_MAX) throw refuse(`it passes through a loop of symlinks at ${at}`);
      if (link.target.startsWith("/")) {
        throw refuse(`it passes through the symlink ${at} to ${JSON.stringify(link.target)}`);
      }
      todo.push(...link.target.split("/").filter((p) => p !== "" && p !== ".").reverse());
    }
    return real;
  }

  #find(parts: readonly string[]): Node | null {
    let node: Node | undefined = this.#root;
    for (const part of parts) {
      node = node.children.get(part);
      if (node === undefined) return null;
    }
    return node;
  }

  #make(parts: readonly string[]): Node {
    let node = this.#root;
    for (const part of parts) {
      let child = node.children.get(part);
      if (child === undefined) node.children.set(part, child = { link: null, children: new Map() });
      node = child;
    }
    return node;
  }

  #unsafe(layer: LayerName, entry: Entry, why: string): GodwitError {
    return new GodwitError(
      "image.layer_unsafe",
      `Cannot use image ${this.#ref}: entry ${
        JSON.stringify(entry.name.slice(0, 200))
      } of layer ${layer.number} (${layer.digest}) is unsafe: ${why}`,
      { fault: "app", hint: "build this layer again with a tool that writes names below the image's root" },
    );
  }
}

type Refuse = (why: string) => GodwitError;

/** A leading `/` means the image's root, as every unpacker reads it: ko and buildpacks write such names. */
function partsOf(name: string, refuse: Refuse): string[] {
  if (name.includes("\0")) throw refuse("its name holds a NUL");
  if (name.length === 0 || name.length > NAME_BYTES_MAX) throw refuse("its name is empty or too long");
  const parts = name.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.includes("..")) throw refuse("its name climbs with ..");
  return parts;
}

function dropOlder(node: Node, layer: number): void {
  for (const [name, child] of node.children) {
    dropOlder(child, layer);
    if (child.link !== null && child.link.layer < layer) child.link = null;
    if (child.link === null && child.children.size === 0) node.children.delete(name);
  }
}

export function tooLarge(ref: string, bytesMax: number): GodwitError {
  return new GodwitError(
    "image.too_large",
    `Cannot use image ${ref}: it is larger than ${Math.floor(bytesMax / 1_048_576)} MB`,
    { fault: "app", hint: "leave out what the app does not need, or raise the worker's image_mb_max" },
  );
}
