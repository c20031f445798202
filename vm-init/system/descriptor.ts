/** An open file that is closed once, however often that is asked: its number may be another file's by then. */
import { closeSync } from "node:fs";
import { assert } from "./error.ts";

export class Descriptor {
  #fd: number | null;

  constructor(fd: number) {
    this.#fd = fd;
  }

  get fd(): number {
    assert(this.#fd !== null, "a descriptor is used after it was closed");
    return this.#fd;
  }

  close(): void {
    if (this.#fd !== null) closeSync(this.#fd);
    this.#fd = null;
  }
}
