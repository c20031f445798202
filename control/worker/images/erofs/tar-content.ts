/** Reads files' content out of the layers' plain tars, in large pieces, since most files are small and stand in a row. */
import { type FileHandle, open } from "node:fs/promises";
import { assert } from "../../../contract/errors.ts";

const BUFFER_BYTES = 1_048_576;

export class TarContent {
  readonly #tars: readonly string[];
  readonly #buffer = new Uint8Array(BUFFER_BYTES);
  #layer = 0;
  #handle: FileHandle | null = null;
  #at = 0;
  #filled = 0;

  /** @param tars in the order of the layers, which count from 1 */
  constructor(tars: readonly string[]) {
    this.#tars = tars;
  }

  /** Between one byte and `bytesMax`, which are good until the next call. */
  async read(layer: number, offset: number, bytesMax: number): Promise<Uint8Array> {
    if (layer !== this.#layer) await this.#open(layer);
    if (offset < this.#at || offset >= this.#at + this.#filled) {
      const { bytesRead } = await this.#handle!.read(this.#buffer, 0, BUFFER_BYTES, offset);
      assert(bytesRead > 0, `layer ${layer} has content at ${offset}, as it had when it was checked`);
      [this.#at, this.#filled] = [offset, bytesRead];
    }
    const from = offset - this.#at;
    return this.#buffer.subarray(from, Math.min(this.#filled, from + bytesMax));
  }

  async close(): Promise<void> {
    await this.#handle?.close();
    this.#handle = null;
  }

  async #open(layer: number): Promise<void> {
    await this.close();
    const tar = this.#tars[layer - 1];
    assert(tar !== undefined, `there is no layer ${layer}`);
    this.#handle = await open(tar, "r");
    [this.#layer, this.#at, this.#filled] = [layer, 0, 0];
  }
}
