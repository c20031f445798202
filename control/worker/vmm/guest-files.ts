/** Files inside a guest, as streams in both directions: nothing of them is kept here. */
import http2, { type ClientHttp2Stream, type IncomingHttpHeaders } from "node:http2";
import { encodeFrame, EXEC_PIECE_BYTES, FrameKind } from "../../contract/exec-frames.ts";
import { FileEntry } from "../../contract/guest-api.ts";
import { FILE_BYTES_MAX, LIST_ENTRIES_MAX, LIST_ENTRY_BYTES_MAX } from "../../contract/guest-limits.ts";
import {
  type Call,
  type CallOptions,
  type GuestSession,
  parseJson,
  protocolError,
  STALL_MS_MAX,
  timedOut,
} from "./guest-session.ts";
import { GuestChannel } from "./guest-channel.ts";
import { splitLines } from "./split-lines.ts";

const READ_PATH = "/v1/read";
const LIST_PATH = "/v1/list";

export interface ReadFile {
  readonly entry: FileEntry;
  /** Ends only where all of the file came. Whoever does not read it to its end closes it (`return()`). */
  readonly bytes: AsyncGenerator<Uint8Array, void, void>;
}

export interface WriteOptions extends CallOptions {
  /** The lower twelve bits; null: as it was, or 0644. */
  readonly mode: number | null;
  readonly replace: boolean;
}

export class GuestFiles {
  readonly #session: GuestSession;

  constructor(session: GuestSession) {
    this.#session = session;
  }

  /** @throws GodwitError `guest.file_not_found`, `guest.not_a_file`, `guest.file_failed` or of the session */
  async read(path: string, options: CallOptions = {}): Promise<ReadFile> {
    const channel = await GuestChannel.open(this.#session, READ_PATH, { path }, options);
    try {
      const entry = entryOf(channel.headers);
      return { entry, bytes: this.#bytesOf(channel, entry, options) };
    } catch (error) {
      channel.close();
      throw error;
    }
  }

  async *#bytesOf(channel: GuestChannel, entry: FileEntry, options: CallOptions) {
    let bytes = 0;
    // Files of /proc say 0 and have more.
    const bytesMax = entry.size_bytes === 0 ? FILE_BYTES_MAX : entry.size_bytes;
    for await (const chunk of outputOf(channel, options)) {
      bytes += chunk.length;
      if (bytes > bytesMax) throw protocolError(`a file is longer than the ${bytesMax} bytes that it has`);
      yield chunk;
    }
    if (bytes < entry.size_bytes) {
      throw protocolError(`a file ended after ${bytes} of ${entry.size_bytes} bytes`);
    }
  }

  /**
   * The file appears under its name once `source` has ended well, and not at all otherwise.
   * @throws GodwitError `guest.file_exists`, `guest.not_a_file`, `guest.disk_full` …; what `source` throws
   */
  async write(path: string, source: AsyncIterable<Uint8Array>, options: WriteOptions): Promise<FileEntry> {
    const { stallMs = STALL_MS_MAX } = options;
    const query = new URLSearchParams({ path });
    if (options.mode !== null) query.set("mode", options.mode.toString(8));
    if (options.replace) query.set("replace", "1");
    const call: Call = { method: "PUT", path: `/v1/files?${query}`, streams: true };
    const stream = this.#session.open(call);
    try {
      // The guest may refuse before it has read anything: then nobody waits for the source.
      const head = this.#session.acceptedHeadOf(call, stream, { timeoutMs: null });
      head.catch(() => {});
      await Promise.race([pour(source, stream, call, stallMs), head, ...abortOf(options.signal)]);
      return await this.#session.within(call, options, stallMs, async () => {
        await head;
        return parseJson(FileEntry, await this.#session.textOf(stream, call.path));
      });
    } finally {
      stream.close(http2.constants.NGHTTP2_CANCEL);
    }
  }

  /** `path` itself first. @throws GodwitError */
  async *list(path: string, depth: number, options: CallOptions = {}): AsyncGenerator<FileEntry, void, void> {
    const channel = await GuestChannel.open(this.#session, LIST_PATH, { path, depth }, options);
    let count = 0;
    for await (const line of splitLines(outputOf(channel, options), LIST_ENTRY_BYTES_MAX)) {
      if (++count > LIST_ENTRIES_MAX + 1) {
        throw protocolError(`a list has more than ${LIST_ENTRIES_MAX} entries`);
      }
      yield parseJson(FileEntry, line);
    }
  }
}

/** What comes as `stdout`, to the end that the guest says. */
async function* outputOf(
  channel: GuestChannel,
  { signal, stallMs = STALL_MS_MAX }: CallOptions,
): AsyncGenerator<Uint8Array, void, void> {
  const abort = () => channel.close();
  signal?.addEventListener("abort", abort, { once: true });
  try {
    signal?.throwIfAborted();
    for await (const frame of channel.frames(stallMs)) {
      if (frame.kind === "exit") return;
      yield frame.bytes;
    }
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  } finally {
    signal?.removeEventListener("abort", abort);
    channel.close();
  }
}

function entryOf(headers: IncomingHttpHeaders): FileEntry {
  const field = headers["godwit-file"];
  if (typeof field !== "string") throw protocolError("it sent a file without saying what it is");
  let json: string;
  try {
    json = decodeURIComponent(field);
  } catch (error) {
    throw protocolError("it said what a file is in no readable way", error);
  }
  return parseJson(FileEntry, json);
}

async function pour(
  source: AsyncIterable<Uint8Array>,
  stream: ClientHttp2Stream,
  call: Call,
  stallMs: number,
): Promise<void> {
  for await (const chunk of source) {
    for (let at = 0; at < chunk.length; at += EXEC_PIECE_BYTES) {
      if (stream.destroyed) return;
      const frame = encodeFrame(FrameKind.stdin, chunk.subarray(at, at + EXEC_PIECE_BYTES));
      if (!stream.write(frame)) await room(stream, call, stallMs);
    }
  }
  stream.end(encodeFrame(FrameKind.stdinEnd));
}

async function room(stream: ClientHttp2Stream, call: Call, stallMs: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const timer = setTimeout(() => reject(timedOut(call, stallMs)), stallMs);
  stream.once("drain", resolve);
  stream.once("close", resolve);
  try {
    if (!stream.destroyed) await promise;
  } finally {
    clearTimeout(timer);
    stream.off("drain", resolve);
    stream.off("close", resolve);
  }
}

/** Rejects when the signal aborts; none where there is no signal. */
function abortOf(signal: AbortSignal | undefined): Promise<never>[] {
  if (signal === undefined) return [];
  return [
    new Promise((_, reject) => {
      if (signal.aborted) reject(signal.reason);
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    }),
  ];
}
