/**
 * What agents say to each other, and its bytes. One datagram holds one message and as much news as fits. A datagram never
 * exceeds `DATAGRAM_BYTES_MAX`, so that no network cuts it up; `seal.ts` adds who may have written it.
 *
 *   kind u8 · sender's id · sender's incarnation u48 · what the kind needs · count u8 · news
 *   id      length u8 · ASCII
 *   news    state u8 · id · incarnation u48 · address (4 or 6) u8, 4 or 16 bytes, port u16
 *           · of a suspicion: who suspects, an id · of dead and left: age in seconds u32
 *
 * Numbers are big-endian. Whoever cannot read all of it reads none of it.
 */
import { isIPv4 } from "node:net";
import { MemberState } from "../contract/membership.ts";
import { addressBytes, addressOf } from "./address.ts";
import type { Address, News } from "./member.ts";
import { SEAL_BYTES } from "./seal.ts";

/** Below the 1,472 bytes that Ethernet's 1,500 leave, with room for a tunnel (WireGuard takes 60 to 80). */
export const DATAGRAM_BYTES_MAX = 1_400;
export const PAYLOAD_BYTES_MAX = DATAGRAM_BYTES_MAX - SEAL_BYTES;
export const NEWS_MAX = 255;
const ID = /^[a-z0-9][a-z0-9-]{0,39}$/;

export type Body =
  /** Is `target` there? */
  | { readonly kind: "ping"; readonly sequence: number; readonly target: string }
  | { readonly kind: "ack"; readonly sequence: number }
  /** Ping `target` for me. */
  | { readonly kind: "ask"; readonly sequence: number; readonly target: string }
  /** I am there, but `target` does not answer me. */
  | { readonly kind: "nack"; readonly sequence: number }
  /** News and nothing else. */
  | { readonly kind: "gossip" }
  /** This is the sum of what I know; tell me all if yours is another. `back`: and it is an answer, so ask no more. */
  | { readonly kind: "compare"; readonly sum: number; readonly back: boolean }
  /** A part of all that I know. */
  | { readonly kind: "state" };

export type Message = Body & {
  readonly id: string;
  readonly incarnation: number;
  readonly news: readonly News[];
};

const KINDS = ["ping", "ack", "ask", "nack", "gossip", "compare", "state"] as const;
const STATES = MemberState.options;

/** Bytes of a message without news. */
export function bodyBytes(id: string, body: Body): number {
  const head = 1 + 1 + id.length + 6 + 1;
  switch (body.kind) {
    case "ping":
    case "ask":
      return head + 4 + 1 + body.target.length;
    case "ack":
    case "nack":
      return head + 4;
    case "compare":
      return head + 5;
    case "gossip":
    case "state":
      return head;
  }
}

export function newsBytes(news: News): number {
  const address = 1 + (isIPv4(news.at.address) ? 4 : 16) + 2;
  const rest = news.state === "suspect" ? 1 + (news.from?.length ?? 0) : news.state === "alive" ? 0 : 4;
  return 1 + 1 + news.id.length + 6 + address + rest;
}

/** @returns the payload, for `seal.ts` */
export function encode(message: Message): Buffer {
  const size = message.news.reduce((sum, news) => sum + newsBytes(news), bodyBytes(message.id, message));
  const out = Buffer.allocUnsafe(size);
  let at = out.writeUInt8(KINDS.indexOf(message.kind), 0);
  const text = (value: string) => {
    at = out.writeUInt8(value.length, at);
    at += out.write(value, at, "latin1");
  };
  text(message.id);
  at = out.writeUIntBE(message.incarnation, at, 6);
  if (message.kind === "ping" || message.kind === "ask") {
    at = out.writeUInt32BE(message.sequence, at);
    text(message.target);
  } else if (message.kind === "ack" || message.kind === "nack") at = out.writeUInt32BE(message.sequence, at);
  else if (message.kind === "compare") {
    at = out.writeUInt32BE(message.sum, at);
    at = out.writeUInt8(message.back ? 1 : 0, at);
  }
  at = out.writeUInt8(message.news.length, at);
  for (const news of message.news) {
    at = out.writeUInt8(STATES.indexOf(news.state), at);
    text(news.id);
    at = out.writeUIntBE(news.incarnation, at, 6);
    const bytes = addressBytes(news.at.address);
    at = out.writeUInt8(bytes.length === 4 ? 4 : 6, at);
    at += bytes.copy(out, at);
    at = out.writeUInt16BE(news.at.port, at);
    if (news.state === "suspect") text(news.from ?? "");
    else if (news.state !== "alive") at = out.writeUInt32BE(Math.min(news.ageS, 0xffff_ffff), at);
  }
  return out;
}

/** @returns null where it is no message of ours */
export function decode(payload: Buffer): Message | null {
  if (payload.length > PAYLOAD_BYTES_MAX) return null;
  try {
    const reader = new Reader(payload);
    const kind = KINDS[reader.number(1)];
    const id = reader.id();
    const incarnation = reader.number(6);
    const body = kind === undefined ? null : readBody(kind, reader);
    if (body === null) return null;
    const count = reader.number(1);
    const news: News[] = [];
    for (let i = 0; i < count; i++) news.push(readNews(reader));
    return reader.atEnd ? { ...body, id, incarnation, news } : null;
  } catch (error) {
    if (error instanceof Unreadable) return null;
    throw error;
  }
}

function readBody(kind: Body["kind"], reader: Reader): Body {
  switch (kind) {
    case "ping":
    case "ask":
      return { kind, sequence: reader.number(4), target: reader.id() };
    case "ack":
    case "nack":
      return { kind, sequence: reader.number(4) };
    case "compare":
      return { kind, sum: reader.number(4), back: reader.number(1) === 1 };
    case "gossip":
    case "state":
      return { kind };
  }
}

function readNews(reader: Reader): News {
  const state = STATES[reader.number(1)];
  if (state === undefined) throw new Unreadable();
  const id = reader.id(), incarnation = reader.number(6);
  const at: Address = { address: reader.address(), port: reader.number(2) };
  if (at.port === 0) throw new Unreadable();
  const from = state === "suspect" ? reader.idOrNull() : null;
  const ageS = state === "dead" || state === "left" ? reader.number(4) : 0;
  return { id, state, incarnation, at, from, ageS };
}

class Unreadable extends Error {}

class Reader {
  #at = 0;
  readonly #bytes: Buffer;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get atEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  number(length: 1 | 2 | 4 | 6): number {
    const at = this.#skip(length);
    return this.#bytes.readUIntBE(at, length);
  }

  id(): string {
    const id = this.idOrNull();
    if (id === null) throw new Unreadable();
    return id;
  }

  idOrNull(): string | null {
    const length = this.number(1);
    if (length === 0) return null;
    const at = this.#skip(length);
    const id = this.#bytes.toString("latin1", at, at + length);
    if (!ID.test(id)) throw new Unreadable();
    return id;
  }

  address(): string {
    const family = this.number(1);
    if (family !== 4 && family !== 6) throw new Unreadable();
    const length = family === 4 ? 4 : 16;
    const at = this.#skip(length);
    return addressOf(this.#bytes.subarray(at, at + length));
  }

  #skip(length: number): number {
    const at = this.#at;
    if (at + length > this.#bytes.length) throw new Unreadable();
    this.#at += length;
    return at;
  }
}
