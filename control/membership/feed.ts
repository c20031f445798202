/** Tells the processes of this host what the agent knows, over a unix socket (control/contract/membership.ts). */
import { mkdirSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { dirname } from "node:path";
import { GodwitError, messageOf } from "../contract/errors.ts";
import {
  type MemberLine,
  MEMBERS_INTERVAL_MS,
  MEMBERS_LINE_BYTES_MAX,
  type MembersLine,
} from "../contract/membership.ts";

export const READERS_MAX = 128;
/** What may wait for a reader that does not read. */
export const UNREAD_BYTES_MAX = 4 * MEMBERS_LINE_BYTES_MAX;

export class Feed {
  /** Cut off because they did not read; and turned away because there were too many. */
  readonly counts = { slow: 0, refused: 0 };
  readonly #members: () => MemberLine[];
  readonly #readers = new Set<Socket>();
  #server: Server | null = null;
  #timer: ReturnType<typeof setInterval> | undefined;

  /** @param members all that are known */
  constructor(members: () => MemberLine[]) {
    this.#members = members;
  }

  get readers(): number {
    return this.#readers.size;
  }

  /** Takes the place of a socket that a killed agent left: the UDP port is held, so no other agent of this host lives. */
  async start(path: string): Promise<void> {
    try {
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      rmSync(path, { force: true });
      const server = createServer((socket) => this.#opened(socket));
      await new Promise<void>((resolve, reject) => {
        server.once("error", reject);
        const before = process.umask(0o177);
        try {
          server.listen(path, resolve);
        } finally {
          process.umask(before);
        }
      });
      this.#server = server;
    } catch (error) {
      throw new GodwitError("membership.socket_unusable", `Cannot listen on ${path}: ${messageOf(error)}`, {
        fault: "us",
        hint:
          "Check `socket` in the configuration: a path of at most 107 bytes in a folder of the agent's own.",
        cause: error,
      });
    }
    this.#timer = setInterval(() => this.#write(this.#everything()), MEMBERS_INTERVAL_MS);
  }

  changed(line: MemberLine): void {
    this.#write(JSON.stringify(line) + "\n");
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    for (const socket of this.#readers) socket.destroy();
    const server = this.#server;
    this.#server = null;
    if (server !== null) await new Promise<void>((resolve) => server.close(() => resolve()));
  }

  #opened(socket: Socket): void {
    socket.on("error", () => {});
    if (this.#readers.size >= READERS_MAX) {
      this.counts.refused++;
      socket.destroy();
      return;
    }
    this.#readers.add(socket);
    socket.on("close", () => this.#readers.delete(socket));
    // Nothing is expected from it; what comes is thrown away, so that its end is seen.
    socket.resume();
    socket.write(this.#everything());
  }

  #everything(): string {
    const line: MembersLine = { schema: 1, members: this.#members() };
    return JSON.stringify(line) + "\n";
  }

  #write(text: string): void {
    for (const socket of this.#readers) {
      if (socket.writableLength > UNREAD_BYTES_MAX) {
        this.counts.slow++;
        socket.destroy();
      } else socket.write(text);
    }
  }
}
