/**
 * May a response be compressed, and how does its head change then? Pure. The rules are those of RFC 9110 (sections 7.7,
 * 8.4, 8.8.1, 12.5.3, 12.5.5); what is doubtful stays as the app sent it.
 */
import { eachListMember, fieldValue, withoutFields } from "../relay/field-cursor.ts";
import type { RequestHead } from "../relay/request-head.ts";
import { type ResponseHead, UNTIL_CLOSE } from "../relay/response-head.ts";
import { chooseCoding, type Coding } from "./accept-encoding.ts";

/** Below this the result would not be smaller by more than the head grows. */
export const COMPRESS_BYTES_MIN = 512;

/** Whole types and, with their slash, whole families. `text/event-stream` is the exception: its flow must not wait. */
const TYPES = new Set([
  "application/atom+xml",
  "application/graphql-response+json",
  "application/javascript",
  "application/json",
  "application/ld+json",
  "application/manifest+json",
  "application/rss+xml",
  "application/rtf",
  "application/wasm",
  "application/x-javascript",
  "application/x-ndjson",
  "application/xhtml+xml",
  "application/xml",
  "font/otf",
  "font/ttf",
  "image/bmp",
  "image/svg+xml",
  "image/x-icon",
  "image/vnd.microsoft.icon",
]);

/** Digests of the bytes as they were (RFC 9530, RFC 3230, RFC 1864), and fields that need the body's own framing. */
const KEEPS_BODY = ["content-digest", "repr-digest", "digest", "content-md5", "content-range", "trailer"];
const REPLACED = new Set(["content-length", "transfer-encoding", "accept-ranges"]);
const VARY = new Set(["vary"]);
const ETAG = new Set(["etag"]);

/** What to do with a response: nothing (null), or say that it varies, and perhaps compress it. */
export interface Compression {
  readonly coding: Coding | null;
}

const VARIES_ONLY: Compression = { coding: null };

/** @returns null where the response would be the same for every Accept-Encoding */
export function compressionOf(request: RequestHead, response: ResponseHead): Compression | null {
  const { status, fields } = response;
  if (status < 200 || status === 204 || status === 205 || status === 206) return null;
  if (fieldValue(fields, "content-encoding") !== null || noTransform(fields)) return null;
  if (status !== 304) {
    if (!typeFits(fieldValue(fields, "content-type"))) return null;
    if (response.length >= 0 && response.length < COMPRESS_BYTES_MIN) return null;
    for (const name of KEEPS_BODY) if (fieldValue(fields, name) !== null) return null;
    // The answer to HEAD would have to name a length that nobody knows.
    if (request.method === "HEAD" && response.length === UNTIL_CLOSE) return VARIES_ONLY;
  }
  if (noTransform(request.fields)) return VARIES_ONLY;
  const coding = chooseCoding(fieldValue(request.fields, "accept-encoding"));
  return coding === null ? VARIES_ONLY : { coding };
}

function noTransform(fields: string): boolean {
  const value = fieldValue(fields, "cache-control");
  if (value === null) return false;
  let found = false;
  eachListMember(value, (directive) => {
    if (directive === "no-transform") found = true;
  });
  return found;
}

function typeFits(contentType: string | null): boolean {
  if (contentType === null) return false;
  const semicolon = contentType.indexOf(";");
  const type = (semicolon === -1 ? contentType : contentType.slice(0, semicolon)).trim().toLowerCase();
  if (type.startsWith("text/")) return type !== "text/event-stream";
  return TYPES.has(type) ||
    (type.startsWith("application/") && (type.endsWith("+json") || type.endsWith("+xml")));
}

/** @returns lines with Accept-Encoding in Vary, once */
export function withVary(fields: string): string {
  const value = fieldValue(fields, "vary");
  if (value === null) return `${fields}Vary: Accept-Encoding\r\n`;
  let there = false;
  eachListMember(value, (member) => {
    if (member === "accept-encoding" || member === "*") there = true;
  });
  return there ? fields : `${withoutFields(fields, VARY)}Vary: ${value}, Accept-Encoding\r\n`;
}

/** The bytes are no longer those that a strong tag vouches for (RFC 9110 section 8.8.1). */
export function withWeakEtag(fields: string): string {
  const etag = fieldValue(fields, "etag");
  if (etag === null || etag.startsWith("W/")) return fields;
  return `${withoutFields(fields, ETAG)}ETag: W/${etag}\r\n`;
}

/** @returns the head's lines for a body in `coding`, without framing: what follows is chunked, or nothing (HEAD) */
export function compressedFields(fields: string, coding: Coding): string {
  return `${withoutFields(withWeakEtag(withVary(fields)), REPLACED)}Content-Encoding: ${coding}\r\n`;
}
