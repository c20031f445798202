/**
 * Rows from a file, one JSON object a line (`{"table": …, "row": …}` or `{"table": …, "key": …, "deleted": true}`), and
 * what is appended to it later: a whole routing state without Redis. A file that became shorter or was replaced is read
 * again from its start, and rows that it no longer has are gone. A bad line is reported and counted, and stops nothing.
 *
 * It asks for the file's size rather than to be notified: notifications differ between systems and file systems.
 */
import { type FileHandle, open } from "node:fs/promises";
import type { Logger } from "pino";
import { GodwitError, messageOf } from "../../control/contract/errors.ts";
import type { TableName } from "../../control/contract/rows.ts";
import type { RowChange } from "../routes/route-table.ts";
import { checkedRow } from "./checked-row.ts";
import type { RowSource, RowSourceStatus } from "./row-source.ts";

export const LOOK_INTERVAL_MS = 50;
export const READ_BYTES = 1_048_576;
export const LINE_BYTES_MAX = 1_048_576;
const LF = 10;

export interface RowsFileOptions {
  readonly file: string;
  readonly log: Logger;
  readonly onChanges: (changes: RowChange[]) => void;
  readonly nowMs: () => number;
}

export class RowsFile implements RowSource {
  readonly #options: RowsFileOptions;
  readonly #keys = new Set<string>();
  /** While the file is read again: what it had before and has not been seen yet. */
  #unseen: Set<string> | null = null;
  #handle: FileHandle | null = null;
  #inode = 0;
  #position = 0;
  #line = 0;
  #rest: Buffer = Buffer.alloc(0);
  #skipping = false;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #looking: Promise<void> = Promise.resolve();
  #stopped = false;
  #readMs: number | null = null;
  #quarantined = 0;
  #gaps = 0;
  #error: string | null = null;

  constructor(options: RowsFileOptions) {
    this.#options = options;
  }

  /** A file that is not there yet is not waited for. */
  start(): Promise<void> {
    return this.#looking = this.#look();
  }
  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#looking;
    await this.#handle?.close();
    this.#handle = null;
  }
  has(table: TableName, key: string): boolean {
    return this.#keys.has(`${table} ${key}`);
  }
  status(): RowSourceStatus {
    return {
      from: "file",
      connected: this.#error === null,
      stale_ms: this.#readMs === null ? null : Math.round(this.#options.nowMs() - this.#readMs),
      quarantined: this.#quarantined,
      gaps: this.#gaps,
      details: { file: this.#options.file, lines: this.#line, last_error: this.#error },
    };
  }

  async #look(): Promise<void> {
    try {
      await this.#readNews();
      this.#error = null;
      this.#readMs = this.#options.nowMs();
    } catch (error) {
      if (this.#error === null) {
        this.#options.log.error(
          { file: this.#options.file, err: messageOf(error) },
          "rows cannot be read; serving on",
        );
      }
      this.#error = messageOf(error);
    }
    if (this.#stopped) return;
    this.#timer = setTimeout(() => this.#looking = this.#look(), LOOK_INTERVAL_MS);
  }

  async #readNews(): Promise<void> {
    if (this.#handle === null) await this.#open();
    if (await this.#wasReplaced()) {
      await this.#handle!.close();
      this.#handle = null;
      await this.#open();
      this.#gaps++;
    }
    const bytes = Buffer.allocUnsafe(READ_BYTES);
    while (!this.#stopped) {
      const { bytesRead } = await this.#handle!.read(bytes, 0, READ_BYTES, this.#position);
      if (bytesRead === 0) break;
      this.#position += bytesRead;
      this.#take(bytes.subarray(0, bytesRead));
    }
    this.#removeUnseen();
  }

  async #open(): Promise<void> {
    const { file } = this.#options;
    this.#handle = await open(file, "r");
    this.#inode = (await this.#handle.stat()).ino;
    this.#position = this.#line = 0;
    this.#rest = Buffer.alloc(0);
    this.#skipping = false;
    this.#unseen = new Set(this.#keys);
  }

  async #wasReplaced(): Promise<boolean> {
    const { size } = await this.#handle!.stat();
    if (size < this.#position) return true;
    const there = await open(this.#options.file, "r");
    const { ino } = await there.stat();
    await there.close();
    return ino !== this.#inode;
  }

  /** All that one read brought becomes one change of the table. */
  #take(bytes: Buffer): void {
    const changes: RowChange[] = [];
    let from = 0;
    for (let end = bytes.indexOf(LF); end !== -1; end = bytes.indexOf(LF, from)) {
      const line = this.#rest.length === 0
        ? bytes.subarray(from, end)
        : Buffer.concat([this.#rest, bytes.subarray(from, end)]);
      this.#rest = Buffer.alloc(0);
      from = end + 1;
      this.#line++;
      if (this.#skipping) this.#skipping = false;
      else if (line.length > 0) this.#takeLine(line.toString(), changes);
    }
    this.#rest = Buffer.concat([this.#rest, bytes.subarray(from)]);
    if (this.#rest.length > LINE_BYTES_MAX) {
      this.#refuse(`it is longer than ${LINE_BYTES_MAX} bytes`);
      this.#rest = Buffer.alloc(0);
      this.#skipping = true;
    }
    if (changes.length > 0) this.#options.onChanges(changes);
  }

  #takeLine(line: string, changes: RowChange[]): void {
    try {
      const entry = JSON.parse(line);
      const { table, key, change } = checkedRow(entry);
      const name = `${table} ${key}`;
      this.#unseen?.delete(name);
      if (entry.deleted === true) this.#keys.delete(name);
      else this.#keys.add(name);
      if (change !== null) changes.push(change);
    } catch (error) {
      if (!(error instanceof GodwitError || error instanceof SyntaxError)) throw error;
      this.#refuse(error.message);
    }
  }

  #refuse(why: string): void {
    this.#quarantined++;
    this.#options.log.error({ file: this.#options.file, line: this.#line, err: why }, "row quarantined");
  }

  #removeUnseen(): void {
    const unseen = this.#unseen;
    this.#unseen = null;
    if (unseen === null || unseen.size === 0) return;
    const changes: RowChange[] = [];
    for (const name of unseen) {
      this.#keys.delete(name);
      const space = name.indexOf(" ");
      const { change } = checkedRow({
        table: name.slice(0, space),
        key: name.slice(space + 1),
        deleted: true,
      });
      if (change !== null) changes.push(change);
    }
    this.#options.onChanges(changes);
  }
}
