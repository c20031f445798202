/**
 * The access log: one JSON line a request, written in batches so that no request waits for a disk. When the disk is
 * slower than the requests, lines are dropped and counted rather than kept in memory without a bound.
 */
import { close, open, write } from "node:fs";
import type { Exchange } from "./exchange.ts";

export const LOG_FLUSH_MS = 50;
export const LOG_BATCH_BYTES = 65_536;
export const LOG_QUEUE_BYTES_MAX = 4_194_304;

const STDOUT = 1;

export class AccessLog {
  #fd: number | null;
  #lines = "";
  #writing = false;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #idle: (() => void)[] = [];
  /** Lines lost because the file took them too slowly, or not at all. */
  dropped = 0;

  private constructor(fd: number | null) {
    this.#fd = fd;
  }

  /** @param to a file's path, `-` for standard output, `off` */
  static open(to: string): Promise<AccessLog> {
    if (to === "off") return Promise.resolve(new AccessLog(null));
    if (to === "-") return Promise.resolve(new AccessLog(STDOUT));
    return new Promise((resolve, reject) => {
      open(to, "a", 0o640, (error, fd) => error === null ? resolve(new AccessLog(fd)) : reject(error));
    });
  }

  get enabled(): boolean {
    return this.#fd !== null;
  }

  add(line: string): void {
    if (this.#fd === null) return;
    if (this.#lines.length > LOG_QUEUE_BYTES_MAX) {
      this.dropped++;
      return;
    }
    this.#lines += line;
    if (this.#lines.length >= LOG_BATCH_BYTES) this.#flush();
    else this.#timer ??= setTimeout(() => this.#flush(), LOG_FLUSH_MS);
  }

  #flush(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#writing || this.#fd === null || this.#lines === "") return;
    const bytes = Buffer.from(this.#lines);
    this.#lines = "";
    this.#writing = true;
    this.#write(this.#fd, bytes);
  }

  #write(fd: number, bytes: Buffer): void {
    write(fd, bytes, 0, bytes.length, null, (error, written) => {
      if (error !== null) this.dropped++;
      else if (written < bytes.length) return this.#write(fd, bytes.subarray(written));
      this.#writing = false;
      if (this.#lines !== "") this.#flush();
      else for (const done of this.#idle.splice(0)) done();
    });
  }

  /** Everything added so far is written. */
  async close(): Promise<void> {
    this.#flush();
    if (this.#writing) await new Promise<void>((resolve) => this.#idle.push(resolve));
    const fd = this.#fd;
    this.#fd = null;
    if (fd !== null && fd !== STDOUT) close(fd, () => {});
  }
}

/** Built by hand: the keys are fixed, and only what the client chose needs escaping. */
export function accessLine(exchange: Exchange, endedMs: number, endedWallMs: number): string {
  const { head, client } = exchange;
  const startedMs = exchange.startedMs;
  const milliseconds = (ms: number) => Math.round(ms * 1_000) / 1_000;
  const firstByte = exchange.respondedMs === 0 ? "null" : milliseconds(exchange.respondedMs - startedMs);
  return `{"at_ms":${Math.round(endedWallMs)},"request_id":"${exchange.id}","client":"${client.address}",` +
    `"method":${quoted(head.method)},"host":${quoted(head.host)},"target":${quoted(head.target)},` +
    `"status":${exchange.status},"code":${exchange.code === null ? "null" : `"${exchange.code}"`},` +
    `"app":${exchange.app === null ? "null" : quoted(exchange.app.name ?? exchange.app.id)},` +
    `"machine":${exchange.machineId === null ? "null" : `"${exchange.machineId}"`},` +
    `"bytes_in":${exchange.bytesIn},"bytes_out":${exchange.bytesOut},"held_ms":${
      milliseconds(exchange.heldMs)
    },` +
    `"first_byte_ms":${firstByte},"total_ms":${milliseconds(endedMs - startedMs)},` +
    `"user_agent":${head.userAgent === null ? "null" : quoted(head.userAgent)}}\n`;
}

/** JSON.stringify only where something needs it. */
function quoted(text: string): string {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x20 || code === 0x22 || code === 0x5c || code > 0x7e) return JSON.stringify(text);
  }
  return `"${text}"`;
}
