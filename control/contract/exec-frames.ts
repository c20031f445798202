/**
 * The frames of a command that runs inside a machine, the same on every leg: guest to worker, worker to control, control
 * to the command line. One request body carries those of the caller, the response body those of the guest, both as long
 * as the command runs; how fast the one side may send is the back-pressure of the HTTP streams they travel in.
 *
 *     kind (1 byte) · length (4 bytes, big-endian) · payload
 *
 * Files and lists come out of a guest in the same frames. A type byte of 0x10 and above comes from the guest. What does not fit is a broken peer, not something to pass over.
 * No schema library here: vm-init reads and writes these too.
 */

export const EXEC_FRAME_BYTES_MAX = 65_536;
export const EXEC_CONTENT_TYPE = "application/x-godwit-exec";
/** Who has nothing to send says so this often, so that nobody on the way takes the silence for a dead peer. */
export const EXEC_PING_INTERVAL_MS = 15_000;
/** Output, or stdin, that may be on its way between guest and worker. */
export const EXEC_WINDOW_BYTES = 65_536;
/** The most of it that one frame carries there. */
export const EXEC_PIECE_BYTES = 16_384;
/** Small amounts of credit are gathered; together with a piece they are less than the window. */
export const EXEC_CREDIT_BYTES_MIN = 16_384;
const HEAD_BYTES = 5;

export const FrameKind = {
  /** First, and once: JSON of ExecRequest. */
  open: 1,
  stdin: 2,
  /** No more stdin; empty. */
  stdinEnd: 3,
  /** JSON of TerminalSize. */
  resize: 4,
  /** The name of a signal, for the command's process group. */
  signal: 5,
  /** Empty. */
  ping: 6,
  /** To a guest: four bytes, how much output has gone on since the last one. */
  credit: 7,
  /** The command runs; empty. Sent by the worker, because a server may keep the head of an answer until there is a body. */
  started: 0x10,
  stdout: 0x11,
  stderr: 0x12,
  /** Last: JSON of ExecExit. */
  exit: 0x13,
  /** Last, instead of `exit`: JSON of WireError. */
  failure: 0x14,
  /** From a guest: four bytes, how much stdin the command has taken since the last one. */
  stdinCredit: 0x15,
  /** From a worker that has had nothing to send for EXEC_PING_INTERVAL_MS; empty. */
  alive: 0x16,
} as const;
export type FrameKind = (typeof FrameKind)[keyof typeof FrameKind];

export interface Frame {
  readonly kind: FrameKind;
  readonly payload: Uint8Array;
}

const KINDS: ReadonlySet<number> = new Set(Object.values(FrameKind));
const FIRST_OF_GUEST = 0x10;

export type FrameSide = "caller" | "guest";

export function encodeFrame(kind: FrameKind, payload: Uint8Array | string = ""): Uint8Array {
  const body = typeof payload === "string" ? Buffer.from(payload) : payload;
  if (body.length > EXEC_FRAME_BYTES_MAX) {
    throw new RangeError(`a frame holds at most ${EXEC_FRAME_BYTES_MAX} bytes, not ${body.length}`);
  }
  const frame = Buffer.allocUnsafe(HEAD_BYTES + body.length);
  frame[0] = kind;
  frame.writeUInt32BE(body.length, 1);
  frame.set(body, HEAD_BYTES);
  return frame;
}

export function encodeCredit(
  kind: typeof FrameKind.credit | typeof FrameKind.stdinCredit,
  bytes: number,
): Uint8Array {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(bytes);
  return encodeFrame(kind, payload);
}

/** @throws RangeError */
export function creditOf(payload: Uint8Array): number {
  if (payload.length !== 4) throw new RangeError(`a credit has four bytes, not ${payload.length}`);
  return new DataView(payload.buffer, payload.byteOffset, 4).getUint32(0);
}

/** Bytes to frames, wherever the chunks are cut. Keeps at most one frame. */
export class FrameReader {
  readonly #side: FrameSide;
  #kept: Buffer = Buffer.alloc(0);

  /** @param side Whose frames these are: those of the other side are refused. */
  constructor(side: FrameSide) {
    this.#side = side;
  }

  /** True between two frames. */
  get isWhole(): boolean {
    return this.#kept.length === 0;
  }

  /** @throws RangeError on a kind or a length that there is not */
  push(chunk: Uint8Array): Frame[] {
    const bytes = this.#kept.length === 0
      ? Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
      : Buffer.concat([this.#kept, chunk]);
    const frames: Frame[] = [];
    let at = 0;
    while (bytes.length - at >= HEAD_BYTES) {
      const kind = this.#kindOf(bytes[at]!);
      const length = bytes.readUInt32BE(at + 1);
      if (length > EXEC_FRAME_BYTES_MAX) throw new RangeError(`a frame says that it has ${length} bytes`);
      if (bytes.length - at < HEAD_BYTES + length) break;
      frames.push({ kind, payload: bytes.subarray(at + HEAD_BYTES, at + HEAD_BYTES + length) });
      at += HEAD_BYTES + length;
    }
    // A copy: the chunk belongs to whoever read it.
    this.#kept = at === bytes.length ? Buffer.alloc(0) : Buffer.from(bytes.subarray(at));
    return frames;
  }

  #kindOf(byte: number): FrameKind {
    const isGuests = byte >= FIRST_OF_GUEST;
    if (!KINDS.has(byte) || isGuests !== (this.#side === "guest")) {
      throw new RangeError(`a ${this.#side} sends no frame of kind ${byte}`);
    }
    return byte as FrameKind;
  }
}
