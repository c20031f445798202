/**
 * A request's fields (RFC 9113 section 8.2 and 8.3) as the head of an HTTP/1.1 request, which then goes through the same
 * parser as every other: each rule about hosts, lengths and names is written once. What is checked here is what the
 * form of HTTP/2 alone can hide: pseudo-fields, upper case, connection fields, and bytes that would be a line's end.
 */
import { BYTE_CLASS, TARGET, TOKEN } from "../relay/byte-class.ts";
import type { Limits } from "../relay/limits.ts";
import {
  BAD_FIELD,
  BAD_HOST,
  BAD_LENGTH,
  BAD_REQUEST_LINE,
  BAD_TARGET,
  HEAD_TOO_LARGE,
  METHOD_REFUSED,
  type Refusal,
  TARGET_TOO_LONG,
} from "../relay/refusal.ts";
import { fieldLine } from "./field-line.ts";
import type { FieldSink } from "./hpack-decoder.ts";
import { type Field, FIELD_OVERHEAD_BYTES } from "./hpack-table.ts";

const COLON = 0x3a;
/** `METHOD SP TARGET SP HTTP/1.1`. */
const REQUEST_LINE_REST = 10;
const WITH_BODY = new Set(["POST", "PUT", "PATCH"]);

export class RequestFields implements FieldSink {
  readonly #limits: Limits;
  #lines = "";
  #method: string | null = null;
  #path: string | null = null;
  #scheme: string | null = null;
  #authority: string | null = null;
  #host: string | null = null;
  #cookie: string | null = null;
  #hasLength = false;
  #regular = false;
  #count = 0;
  #bytes = 0;
  #refusal: Refusal | null = null;
  /** `:protocol` of an extended CONNECT (RFC 8441), else null. */
  protocol: string | null = null;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  begin(): this {
    this.#lines = "";
    this.#cookie = null;
    this.#method =
      this.#path =
      this.#scheme =
      this.#authority =
      this.#host =
      this.protocol =
        null;
    this.#hasLength = this.#regular = false;
    this.#count = this.#bytes = 0;
    this.#refusal = null;
    return this;
  }

  field(field: Field): void {
    if (this.#refusal !== null) return;
    const { fieldsMax, headBytesMax } = this.#limits;
    this.#bytes += field.size - FIELD_OVERHEAD_BYTES;
    if (++this.#count > fieldsMax || this.#bytes > headBytesMax) {
      this.#refusal = HEAD_TOO_LARGE;
      return;
    }
    if (field.name.charCodeAt(0) === COLON) return this.#pseudo(field);
    this.#regular = true;
    const line = fieldLine(field);
    if (line === null) {
      this.#refusal = BAD_FIELD;
      return;
    }
    if (line.length > this.#limits.fieldLineBytesMax) {
      this.#refusal = HEAD_TOO_LARGE;
      return;
    }
    switch (field.name) {
      case "host":
        if (this.#host !== null) this.#refusal = BAD_HOST;
        this.#host = field.value;
        return;
      case "cookie":
        // A browser sends each cookie by itself (section 8.2.3); HTTP/1.1 knows one field.
        this.#cookie = this.#cookie === null ? field.value : `${this.#cookie}; ${field.value}`;
        return;
      case "content-length":
        this.#hasLength = true;
        break;
      case "te":
        return;
    }
    this.#lines += line;
  }

  #pseudo(field: Field): void {
    const { name, value } = field;
    if (this.#regular) this.#refusal = BAD_FIELD;
    else if (name === ":method" && this.#method === null) this.#method = value;
    else if (name === ":path" && this.#path === null) this.#path = value;
    else if (name === ":scheme" && this.#scheme === null) this.#scheme = value;
    else if (name === ":authority" && this.#authority === null) this.#authority = value;
    else if (name === ":protocol" && this.protocol === null) this.protocol = value;
    else this.#refusal = BAD_FIELD;
  }

  /**
   * @param ends no body follows
   * @returns lines of a head as `parseRequestHead` takes them. A body without a length is announced as chunked.
   */
  end(ends: boolean): string | Refusal {
    if (this.#refusal !== null) return this.#refusal;
    let method = this.#method;
    const path = this.#path;
    if (method === null || !isAll(TOKEN, method)) return BAD_REQUEST_LINE;
    if (method === "CONNECT") {
      if (this.protocol === null) return METHOD_REFUSED;
      method = "GET";
    } else if (this.protocol !== null) return BAD_REQUEST_LINE;
    if (this.#scheme !== "https" && this.#scheme !== "http") return BAD_REQUEST_LINE;
    if (path === null || !isAll(TARGET, path)) return BAD_TARGET;
    if (path.charCodeAt(0) !== 0x2f && (path !== "*" || method !== "OPTIONS")) return BAD_TARGET;
    if (method.length + path.length + REQUEST_LINE_REST > this.#limits.requestLineBytesMax) {
      return TARGET_TOO_LONG;
    }
    const host = this.#authority ?? this.#host;
    if (host === null || !isAll(TARGET, host)) return BAD_HOST;
    if (this.#host !== null && this.#authority !== null && !sameHost(this.#host, this.#authority)) {
      return BAD_HOST;
    }
    let framing = "";
    if (this.protocol !== null) {
      if (ends || this.#hasLength) return BAD_LENGTH;
    } else if (!this.#hasLength) {
      if (!ends) framing = "transfer-encoding: chunked\r\n";
      else if (WITH_BODY.has(method)) framing = "content-length: 0\r\n";
    }
    const cookie = this.#cookie === null ? "" : `cookie: ${this.#cookie}\r\n`;
    return `${method} ${path} HTTP/1.1\r\nhost: ${host}\r\n${this.#lines}${cookie}${framing}`;
  }
}

function isAll(bit: number, text: string): boolean {
  for (let i = 0; i < text.length; i++) if ((BYTE_CLASS[text.charCodeAt(i)]! & bit) === 0) return false;
  return text.length > 0;
}

function sameHost(a: string, b: string): boolean {
  return a === b || a.toLowerCase() === b.toLowerCase();
}
