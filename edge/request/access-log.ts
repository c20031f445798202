/**
 * The access log's file. Lines are written in batches so that no request waits for a disk, each batch whole lines in one
 * write, so that several processes can append to one file. When the disk is slower than the requests, lines are dropped
 * and counted rather than kept in memory without a bound.
 */
import { close, open, write } from "node:fs";
import { LINE_BYTES_MAX } from "./access-line.ts";
import { LineBuffer } from "./line-buffer.ts";

export const LOG_FLUSH_MS = 50;
export const LOG_BATCH_BYTES = 262_144;
/** Lines that wait for the disk. */
export const LOG_QUEUE_BYTES_MAX = 16_777_216;

const STDOUT = 1;
const BATCHES_MAX = LOG_QUEUE_BYTES_MAX / LOG_BATCH_BYTES;

export class AccessLog {
  /** Null where the log goes to no file of its own. */
  readonly #path: string | null;
  #fd: number | null;
  #filling = new LineBuffer(LOG_BATCH_BYTES + LINE_BYTES_MAX);
  /** Full, oldest first; and empty ones to fill. */
  readonly #full: LineBuffer[] = [];
  readonly #empty: LineBuffer[] = [];
  #writing = false;
  /** The last write ended within a line. */
  #torn = false;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #idle: (() => void)[] = [];
  /** Takes the place of `#fd` once what is being written now has been. */
  #fresh: number | null = null;
  #closing = false;
  /** Lines lost because the file took them too slowly, or not at all. */
  dropped = 0;

  private constructor(fd: number | null, path: string | null) {
    this.#fd = fd;
    this.#path = path;
  }

  /** @param to a file's path, `-` for standard output, `off` */
  static async open(to: string): Promise<AccessLog> {
    if (to === "off") return new AccessLog(null, null);
    if (to === "-") return new AccessLog(STDOUT, null);
    return new AccessLog(await openFile(to), to);
  }

  get enabled(): boolean {
    return this.#fd !== null;
  }

  /**
   * Where the next line goes; call `added` behind it.
   * @returns null where there is no place for it: it counts as dropped
   */
  place(): LineBuffer | null {
    if (this.#filling.at >= LOG_BATCH_BYTES) {
      this.dropped++;
      return null;
    }
    return this.#filling;
  }

  added(): void {
    if (this.#filling.at < LOG_BATCH_BYTES) this.#timer ??= setTimeout(() => this.#flush(), LOG_FLUSH_MS);
    else if (this.#full.length < BATCHES_MAX) this.#flush();
  }

  #flush(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#filling.at > 0 && this.#full.length < BATCHES_MAX) {
      this.#full.push(this.#filling);
      this.#filling = this.#empty.pop() ?? new LineBuffer(LOG_BATCH_BYTES + LINE_BYTES_MAX);
    }
    const batch = this.#full[0];
    if (this.#writing || this.#fd === null || batch === undefined) return;
    this.#writing = true;
    const lines = batch.bytes.subarray(0, batch.at);
    this.#write(this.#fd, this.#torn ? Buffer.concat([Buffer.from("\n"), lines]) : lines);
  }

  #write(fd: number, bytes: Buffer): void {
    write(fd, bytes, 0, bytes.length, null, (error, written) => {
      // A pipe that is full and does not block: the reader is slow, not gone.
      if (error?.code === "EAGAIN" && !this.#closing) {
        return void setTimeout(() => this.#write(fd, bytes), LOG_FLUSH_MS);
      }
      if (error === null && written < bytes.length) {
        this.#torn = true;
        return this.#write(fd, bytes.subarray(written));
      }
      const batch = this.#full.shift()!;
      if (error === null) this.#torn = false;
      else this.dropped += batch.lines;
      batch.clear();
      this.#empty.push(batch);
      this.#writing = false;
      this.#useFresh();
      if (this.#full.length > 0 || this.#filling.at >= LOG_BATCH_BYTES) this.#flush();
      else for (const done of this.#idle.splice(0)) done();
    });
  }

  /**
   * Opens the file anew, for whoever has renamed it (logrotate): what follows is in the new one.
   * @throws where the path cannot be opened any more; the old file then stays in use
   */
  async reopen(): Promise<void> {
    if (this.#path === null || this.#closing) return;
    const fresh = await openFile(this.#path);
    if (this.#fresh !== null) close(this.#fresh, () => {});
    this.#fresh = fresh;
    if (!this.#writing) this.#useFresh();
  }

  #useFresh(): void {
    if (this.#fresh === null) return;
    const old = this.#fd;
    this.#fd = this.#fresh;
    this.#fresh = null;
    if (old !== null) close(old, () => {});
  }

  /** Everything added so far is written. */
  async close(): Promise<void> {
    this.#closing = true;
    while (this.#fd !== null && (this.#writing || this.#filling.at > 0)) {
      this.#flush();
      await new Promise<void>((resolve) => this.#idle.push(resolve));
    }
    const fd = this.#fd;
    this.#fd = null;
    if (fd !== null && fd !== STDOUT) close(fd, () => {});
  }
}

function openFile(path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    open(path, "a", 0o640, (error, fd) => error === null ? resolve(fd) : reject(error));
  });
}
