/** Fields of HTTP/2 as lines of HTTP/1.1: what one allows and the other would misread is not let through. */
import { BYTE_CLASS, HTAB, SP, TOKEN, VALUE } from "../relay/byte-class.ts";
import { isTrailer } from "../relay/body-reader.ts";
import type { Field } from "./hpack-table.ts";

/** @returns the line with CR LF; null where the field is malformed (RFC 9113 section 8.2) */
export function fieldLine(field: Field): string | null {
  if (field.line === "") field.line = lineOf(field);
  return field.line;
}

function lineOf({ name, value }: Field): string | null {
  if (!isName(name) || !isValue(value)) return null;
  switch (name) {
    case "connection":
    case "keep-alive":
    case "proxy-connection":
    case "transfer-encoding":
    case "upgrade":
      return null;
    case "te":
      if (value !== "trailers") return null;
  }
  return `${name}: ${value}\r\n`;
}

/** A token in lower case. */
export function isName(name: string): boolean {
  for (let i = 0; i < name.length; i++) {
    const code = name.charCodeAt(i);
    if ((BYTE_CLASS[code]! & TOKEN) === 0 || (code >= 0x41 && code <= 0x5a)) return false;
  }
  return name.length > 0;
}

/** Section 8.2.1: no space at either end either. */
export function isValue(value: string): boolean {
  for (let i = 0; i < value.length; i++) if ((BYTE_CLASS[value.charCodeAt(i)]! & VALUE) === 0) return false;
  const first = value.charCodeAt(0), last = value.charCodeAt(value.length - 1);
  return first !== SP && first !== HTAB && last !== SP && last !== HTAB;
}

/** Calls `each` with every line, without its CR LF. */
export function eachLine(lines: string, each: (line: string) => void): void {
  for (let at = 0; at < lines.length;) {
    const end = lines.indexOf("\r\n", at);
    each(lines.slice(at, end));
    at = end + 2;
  }
}

/** @returns the lines that may be trailers in HTTP/1.1; whether all may is seen by the length */
export function trailerLines(lines: string): string {
  let kept = "";
  eachLine(lines, (line) => {
    if (isTrailer(line)) kept += `${line}\r\n`;
  });
  return kept;
}
