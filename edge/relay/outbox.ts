/**
 * What a socket did not take yet. Whoever produces the bytes stops when `write` says false and goes on when `flush`
 * says true, so that an outbox holds no more than what one read of the other side brought.
 */
import type { Socket } from "../runtime/socket-port.ts";

/**
 * Up to this, a head and the bytes that follow it go out in one write, joined in a buffer that all connections share: a
 * copy costs less than a system call and a packet, and a text written as it is costs the runtime two allocations.
 */
const JOIN_BYTES_MAX = 131_072;
const HEAD_BYTES_MAX = 131_072;
const joint = Buffer.allocUnsafeSlow(HEAD_BYTES_MAX + JOIN_BYTES_MAX) as Buffer & Latin1Buffer;

/** Of Node's Buffer, which its types do not list; `write` with an encoding looks the encoding up each time. */
interface Latin1Buffer {
  latin1Write(text: string, at: number, length: number): number;
}

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
    if (text.length > HEAD_BYTES_MAX) return this.write(Buffer.from(text, "latin1"));
    return this.#writeJoint(joint.latin1Write(text, 0, text.length));
  }

  /**
   * A head, and with it the bytes of a body that are there already.
   * @returns true while all has been taken by the socket
   */
  writeWithHead(head: string, bytes: Buffer, from: number, to: number): boolean {
    const count = to - from;
    if (count > JOIN_BYTES_MAX || head.length > HEAD_BYTES_MAX) {
      this.writeLatin1(head);
      return this.write(bytes.subarray(from, to));
    }
    const headBytes = joint.latin1Write(head, 0, head.length);
    if (count > 0) bytes.copy(joint, headBytes, from, to);
    return this.#writeJoint(headBytes + count);
  }

  /** What the socket does not take may not stay in the shared buffer. */
  #writeJoint(length: number): boolean {
    if (length === 0) return this.bytes === 0;
    const taken = this.bytes > 0 || this.#socket === null ? 0 : this.#socket.write(joint.subarray(0, length));
    return taken >= length || this.#keep(Buffer.from(joint.subarray(taken, length)));
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
