/**
 * What a socket did not take yet. Whoever produces the bytes stops when `write` says false and goes on when `flush`
 * says true, so that an outbox holds no more than what one read of the other side brought.
 */
import type { Socket } from "../runtime/socket-port.ts";

export class Outbox {
  #socket: Socket | null = null;
  #queue: Buffer[] = [];
  bytes = 0;

  attach(socket: Socket): void {
    this.#socket = socket;
    this.flush();
  }

  detach(): void {
    this.#socket = null;
    this.#queue = [];
    this.bytes = 0;
  }

  get empty(): boolean {
    return this.bytes === 0;
  }

  /** @returns true while all has been taken by the socket */
  write(bytes: Buffer): boolean {
    if (bytes.length === 0) return this.bytes === 0;
    if (this.bytes > 0 || this.#socket === null) return this.#keep(bytes);
    const taken = this.#socket.write(bytes);
    return taken >= bytes.length || this.#keep(bytes.subarray(taken));
  }

  writeLatin1(text: string): boolean {
    if (text.length === 0) return this.bytes === 0;
    if (this.bytes > 0 || this.#socket === null) return this.#keep(Buffer.from(text, "latin1"));
    const taken = this.#socket.writeLatin1(text);
    return taken >= text.length || this.#keep(Buffer.from(text.slice(taken), "latin1"));
  }

  #keep(bytes: Buffer): false {
    this.#queue.push(bytes);
    this.bytes += bytes.length;
    return false;
  }

  /** @returns true when nothing is left */
  flush(): boolean {
    while (this.#socket !== null && this.#queue.length > 0) {
      const first = this.#queue[0]!;
      const taken = this.#socket.write(first);
      this.bytes -= taken;
      if (taken < first.length) {
        this.#queue[0] = first.subarray(taken);
        return false;
      }
      this.#queue.shift();
    }
    return this.bytes === 0;
  }
}
