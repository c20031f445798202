/** For tests: the codec alone, run over a stream of bytes as the relay runs it, in pieces of any size. */
import { BodyReader } from "./body-reader.ts";
import { HeadScanner, NEED_MORE, REFUSED } from "./head-scanner.ts";
import type { Limits } from "./limits.ts";
import { LIMITS } from "./limits.ts";
import { parseRequestHead, RequestHead } from "./request-head.ts";
import { bodyLength, parseResponseHead } from "./response-head.ts";

export interface Message {
  /** `METHOD TARGET` or the status. */
  start: string;
  fields: string;
  payload: string;
  trailers: string[];
  /** Index in the stream behind the message's last byte; null where it has not come. */
  end: number | null;
}

export interface Stream {
  messages: Message[];
  /** Why reading stopped: what was wrong with the bytes, or null. */
  refusal: string | null;
  /** Nothing more is read: the connection ends, or became a tunnel. */
  over: boolean;
}

export interface ReadOptions {
  /** Of the requests that the responses answer. */
  readonly method?: string;
  readonly limits?: Limits;
  /** Changes a head's text before it is read. */
  readonly prepare?: (text: string) => string;
}

interface Begun {
  message: Message;
  /** As `BodyReader.begin` takes it. */
  length: number;
  last: boolean;
}

type ReadHead = (text: string, options: ReadOptions) => Begun | string;

const request: ReadHead = (text, { limits = LIMITS }) => {
  const head = parseRequestHead(text, limits);
  if (!(head instanceof RequestHead)) return `${head.status} ${head.message}`;
  return {
    message: {
      start: `${head.method} ${head.target}`,
      fields: head.fields,
      payload: "",
      trailers: [],
      end: null,
    },
    length: head.contentLength,
    last: !head.keepAlive || head.upgrade !== null,
  };
};

const response: ReadHead = (text, { method = "GET" }) => {
  const head = parseResponseHead(text);
  if (typeof head === "string") return head;
  return {
    message: { start: String(head.status), fields: head.fields, payload: "", trailers: [], end: null },
    length: bodyLength(head, method),
    last: (!head.keepAlive && head.status >= 200) || head.status === 101,
  };
};

export function readRequests(pieces: Iterable<Buffer>, options: ReadOptions = {}): Stream {
  return read(pieces, request, options);
}
export function readResponses(pieces: Iterable<Buffer>, options: ReadOptions = {}): Stream {
  return read(pieces, response, options);
}

function read(pieces: Iterable<Buffer>, readHead: ReadHead, options: ReadOptions): Stream {
  const limits = options.limits ?? LIMITS;
  const scanner = new HeadScanner(limits);
  const body = new BodyReader(limits);
  const stream: Stream = { messages: [], refusal: null, over: false };
  let begun: Begun | null = null;
  let before = 0;
  for (const bytes of pieces) {
    let at = 0;
    while (at < bytes.length && !stream.over) {
      if (begun === null) {
        at = scanner.feed(bytes, at);
        if (at === NEED_MORE) break;
        const read = at === REFUSED
          ? scanner.refusal!.message
          : readHead(options.prepare?.(scanner.text) ?? scanner.text, options);
        if (typeof read === "string") return { ...stream, refusal: read, over: true };
        begun = read;
        const { message, length } = begun;
        stream.messages.push(message);
        body.begin(length);
        body.onPayload = (from, start, to) => message.payload += from.toString("latin1", start, to);
        body.onTrailer = (line) => message.trailers.push(line);
      } else at = body.feed(bytes, at);
      if (body.invalid) {
        return { ...stream, refusal: body.tooLarge ? "body too large" : "bad chunk", over: true };
      }
      if (!body.done) continue;
      begun.message.end = before + at;
      stream.over = begun.last;
      begun = null;
    }
    before += bytes.length;
  }
  return stream;
}

/** One piece for each byte. */
export function single(bytes: Buffer): Buffer[] {
  return Array.from(bytes, (_, i) => bytes.subarray(i, i + 1));
}

/** The pieces between these places, wherever they lie. */
export function splitAt(bytes: Buffer, places: readonly number[]): Buffer[] {
  const cuts = places.map((place) => place % (bytes.length + 1));
  const at = [...new Set([0, ...cuts, bytes.length])].sort((a, b) => a - b);
  return at.slice(1).map((to, i) => bytes.subarray(at[i]!, to));
}
