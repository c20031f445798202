/** For tests: what an agent tells over its socket, and a wait for what it will tell. */
import { connect, type Socket } from "node:net";
import type { MemberLine, MembersLine } from "../contract/membership.ts";

export class FeedReader {
  readonly members = new Map<string, MemberLine>();
  readonly lines: (MemberLine | MembersLine)[] = [];
  closed = false;
  readonly #socket: Socket;
  #text = "";
  readonly #waiting = new Set<() => void>();

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding("utf8");
    socket.on("data", (text: string) => this.#read(text));
    socket.on("error", () => {});
    socket.on("close", () => {
      this.closed = true;
      for (const look of this.#waiting) look();
    });
  }

  /** Tries until the agent listens. */
  static async open(path: string, waitMsMax = 20_000): Promise<FeedReader> {
    const endMs = performance.now() + waitMsMax;
    for (;;) {
      const socket = connect({ path });
      const open = await new Promise<boolean>((resolve) => {
        socket.once("connect", () => resolve(true));
        socket.once("error", () => resolve(false));
      });
      if (open) return new FeedReader(socket);
      if (performance.now() > endMs) throw new Error(`nobody listens on ${path}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  states(): Record<string, string> {
    return Object.fromEntries([...this.members.values()].map(({ host_id, state }) => [host_id, state]));
  }

  /** @returns the monotonic time at which it came to hold */
  until(holds: (states: Record<string, string>) => boolean, waitMsMax = 30_000): Promise<number> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(look);
        reject(new Error(`waited ${waitMsMax} ms in vain for ${holds}: ${JSON.stringify(this.states())}`));
      }, waitMsMax);
      const look = () => {
        if (!holds(this.states())) return;
        this.#waiting.delete(look);
        clearTimeout(timer);
        resolve(performance.now());
      };
      this.#waiting.add(look);
      look();
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  #read(text: string): void {
    const lines = (this.#text + text).split("\n");
    this.#text = lines.pop()!;
    for (const line of lines) {
      const value: MemberLine | MembersLine = JSON.parse(line);
      this.lines.push(value);
      if ("members" in value) {
        this.members.clear();
        for (const each of value.members) this.members.set(each.host_id, each);
      } else this.members.set(value.host_id, value);
    }
    for (const look of [...this.#waiting]) look();
  }
}
