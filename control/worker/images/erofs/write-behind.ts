/** Gathers small writes that go from front to back into large ones. What is passed over stays zero. */
import type { FileHandle } from "node:fs/promises";

const BUFFER_BYTES = 1_048_576;

export class WriteBehind {
  readonly #output: FileHandle;
  readonly #buffer = new Uint8Array(BUFFER_BYTES);
  /** Where the buffer begins in the file. */
  #at = 0;
  #filled = 0;

  constructor(output: FileHandle) {
    this.#output = output;
  }

  /** The bytes may be used again once it resolves. Places only grow. */
  async put(at: number, bytes: Uint8Array): Promise<void> {
    if (bytes.length === 0) return;
    if (at + bytes.length - this.#at > BUFFER_BYTES) {
      await this.flush();
      if (bytes.length >= BUFFER_BYTES) return await this.#write(at, bytes);
    }
    if (this.#filled === 0) this.#at = at;
    // The gap up to here was something else's in the buffer's last use.
    this.#buffer.fill(0, this.#filled, at - this.#at);
    this.#buffer.set(bytes, at - this.#at);
    this.#filled = at - this.#at + bytes.length;
  }

  async flush(): Promise<void> {
    const filled = this.#filled;
    this.#filled = 0;
    await this.#write(this.#at, this.#buffer.subarray(0, filled));
  }

  async #write(at: number, bytes: Uint8Array): Promise<void> {
    for (let done = 0; done < bytes.length;) {
      done += (await this.#output.write(bytes, done, bytes.length - done, at + done)).bytesWritten;
    }
  }
}
