/**
 * A virtio-serial port as a row of byte streams, one for each time the host connects.
 *
 * The kernel tells little: a blocking read answers 0 while no host is connected, and a blocking write then waits and
 * delivers old bytes to the next host. So reads block (on a thread of Bun's pool) and end the stream at 0, and writes
 * are made non-blocking for their short moment. A host that reconnects faster than the guest looks is noticed by the
 * HTTP/2 preface that it starts with (RFC 9113 section 3.4).
 */
import { openSync, read, readdirSync, readFileSync, readSync } from "node:fs";
import { Duplex } from "node:stream";
import { constants } from "node:os";
import { BootError, codeOf, SystemError } from "./error.ts";
import { check, errno, libc } from "./libc.ts";

const PORTS_FOLDER = "/sys/class/virtio-ports";
const READ_BYTES = 32_768;
const WRITE_BYTES_MAX = 32_768;
/** Between looks for a host that is not connected, and between tries to write to one that does not read. */
const AWAY_POLL_MS = 20;
const FULL_POLL_MS = 2;
/** A host that was not there for so many looks has gone. */
const AWAY_POLLS_MAX = 10;
/** One that is there for so many looks in a row without a preface is the one that talked before. */
const HERE_POLLS_MIN = 3;
const F_SETFL = 4;
const O_RDWR = 2;
const O_RDWR_NONBLOCK = 2 | 0o4000;
const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
/** Of a frame's header, behind its length: type SETTINGS, no flags, stream 0 (RFC 9113 section 4.1). */
const SETTINGS_OF_CONNECTION = Buffer.from([4, 0, 0, 0, 0, 0]);
const FRAME_TYPE_OFFSET = 3;
const FRAME_HEADER_BYTES = 9;

/** The device file of the port with this name. */
export function findPort(name: string): string {
  let ports: string[] = [];
  try {
    ports = readdirSync(PORTS_FOLDER);
  } catch {
    // No such folder means no port: said below.
  }
  const named = ports.map((port) => [port, readFileSync(`${PORTS_FOLDER}/${port}/name`, "utf8").trim()]);
  const found = named.find(([, portName]) => portName === name)?.[0];
  if (found !== undefined) return `/dev/${found}`;
  const met = named.map(([port, portName]) => `${port} "${portName}"`).join(", ") || "none";
  throw new BootError(`Cannot find the virtio-serial port "${name}" in ${PORTS_FOLDER}: met ${met}`);
}

/** Calls `onStream` for each host that connects, until the machine powers off. */
export function servePort(device: string, onStream: (stream: Duplex) => void): void {
  const fd = openSync(device, "r+");
  const buffer = Buffer.alloc(READ_BYTES);
  let stream: PortStream | null = null;
  const end = () => {
    stream?.destroy();
    stream = null;
  };
  const next = () => read(fd, buffer, 0, READ_BYTES, null, taken);
  const taken = (error: Error | null, count: number) => {
    if (error !== null || count === 0) {
      // EAGAIN: the read met the moment of a write. Anything else: there is no host, or it went.
      if (codeOf(error) === "EAGAIN") return setTimeout(next, FULL_POLL_MS);
      if (stream !== null) return hold(stream);
      return setTimeout(next, AWAY_POLL_MS);
    }
    const chunk = Buffer.from(buffer.subarray(0, count));
    if (isStart(chunk)) {
      end();
      onStream(stream = new PortStream(fd));
    }
    // Bytes for a stream that is gone are dropped until the next preface.
    if (stream !== null && !stream.destroyed) stream.push(chunk);
    next();
  };
  // The news that the last host went may come when the next one has begun to talk, most of all to a guest that was
  // suspended in between: then the port is open again at once, and what follows belongs to this conversation.
  const hold = (held: PortStream) => {
    held.isHeld = true;
    let away = 1, here = 0;
    const look = () => {
      const count = readNow(fd, buffer);
      if (count === 0) here = 0, away++;
      else here++;
      if (count === 0 && away >= AWAY_POLLS_MAX) end();
      else if (count === 0 || (count === null && here < HERE_POLLS_MIN)) {
        return setTimeout(look, AWAY_POLL_MS);
      }
      held.isHeld = false;
      if (count === null || count === 0) next();
      else taken(null, count);
    };
    setTimeout(look, AWAY_POLL_MS);
  };
  next();
}

/**
 * Whether a host begins here: with its preface, and the SETTINGS frame that must follow (RFC 9113 section 3.4) as far as it
 * has come. Elsewhere in a chunk the same bytes are of something that is carried, a file for instance: QEMU begins a buffer
 * for each of its writes, and a read gives no more than one.
 */
export function isStart(chunk: Buffer): boolean {
  if (!chunk.subarray(0, PREFACE.length).equals(PREFACE)) return false;
  const next = chunk.subarray(PREFACE.length + FRAME_TYPE_OFFSET, PREFACE.length + FRAME_HEADER_BYTES);
  return next.equals(SETTINGS_OF_CONNECTION.subarray(0, next.length));
}

class PortStream extends Duplex {
  /** Nothing is written while it is not known whether the host is there: the next one would read it. */
  isHeld = false;
  readonly #fd: number;
  #gone = false;

  constructor(fd: number) {
    super({ allowHalfOpen: false });
    this.#fd = fd;
  }

  /** Nothing more is written: the next host would read it. */
  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#gone = true;
    done(error);
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    if (this.#gone) return done(new BootError("Cannot write to the worker: it has hung up"));
    if (this.isHeld) {
      setTimeout(() => this._write(chunk, _encoding, done), FULL_POLL_MS);
      return;
    }
    let rest = chunk;
    while (rest.length > 0) {
      const piece = rest.subarray(0, WRITE_BYTES_MAX);
      const count = writeNow(this.#fd, piece);
      if (count instanceof SystemError) return done(count);
      if (count === 0) {
        setTimeout(() => this._write(rest, _encoding, done), FULL_POLL_MS);
        return;
      }
      rest = rest.subarray(count);
    }
    done();
  }
}

/** How many bytes the port gave without waiting: 0 where no host is connected, null where it has said nothing. */
function readNow(fd: number, buffer: Buffer): number | null {
  check(libc.fcntl(fd, F_SETFL, O_RDWR_NONBLOCK), "fcntl F_SETFL");
  try {
    return readSync(fd, buffer, 0, READ_BYTES, null);
  } catch (error) {
    return codeOf(error) === "EAGAIN" ? null : 0;
  } finally {
    check(libc.fcntl(fd, F_SETFL, O_RDWR), "fcntl F_SETFL");
  }
}

/** How many bytes the port took without waiting. */
function writeNow(fd: number, piece: Buffer): number | SystemError {
  check(libc.fcntl(fd, F_SETFL, O_RDWR_NONBLOCK), "fcntl F_SETFL");
  const count = Number(libc.write(fd, piece, BigInt(piece.length)));
  const failed = count < 0 ? errno() : 0;
  check(libc.fcntl(fd, F_SETFL, O_RDWR), "fcntl F_SETFL");
  if (failed === 0) return count;
  return failed === constants.errno.EAGAIN ? 0 : new SystemError("write to the control port", failed);
}
