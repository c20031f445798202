/**
 * Walks the header lines of a scanned head. Known names are found by length and bytes; `_` counts as `-` in that
 * comparison, because CGI-like applications cannot tell the two apart and would take a client's `X_Forwarded_For` for
 * the edge's own.
 */
import { BYTE_CLASS, COLON, CR, HTAB, SP, TOKEN, VALUE } from "./byte-class.ts";

/** Names that the relay acts on; all others pass untouched. */
export const FIELD_NAMES = [
  "host",
  "content-length",
  "content-type",
  "transfer-encoding",
  "connection",
  "keep-alive",
  "proxy-connection",
  "te",
  "upgrade",
  "expect",
  "proxy",
  "trailer",
  "accept",
  "user-agent",
  "x-forwarded-for",
  "x-forwarded-proto",
  "x-forwarded-port",
  "x-forwarded-ssl",
  "fly-client-ip",
  "fly-forwarded-port",
  "fly-forwarded-proto",
  "fly-forwarded-ssl",
  "fly-region",
  "fly-request-id",
  "fly-replay",
  "fly-replay-src",
  "fly-replay-failed",
  "fly-replay-cache-status",
  "fly-preferred-instance-unavailable",
  "godwit-peer",
  "godwit-send-back",
  "fly-force-instance-id",
  "fly-prefer-instance-id",
  "fly-force-region",
  "fly-prefer-region",
  "server",
  "date",
] as const;
export type FieldName = (typeof FIELD_NAMES)[number];

const byLength: (readonly FieldName[] | undefined)[] = [];
for (const name of FIELD_NAMES) byLength[name.length] = [...(byLength[name.length] ?? []), name];
const LONGEST = byLength.length - 1;

export class FieldCursor {
  text = "";
  /** Index of the current line; `next` is the index behind it. */
  start = 0;
  next = 0;
  nameEnd = 0;
  valueStart = 0;
  valueEnd = 0;
  name: FieldName | null = null;
  /** The name has an underscore where the known name has a hyphen. */
  underscored = false;

  begin(text: string, at: number): void {
    this.text = text;
    this.next = at;
  }

  /** @returns false where the line is not valid. Call only while `next < text.length`. */
  advance(): boolean {
    const text = this.text;
    let at = this.next;
    this.start = at;
    let code = text.charCodeAt(at);
    while ((BYTE_CLASS[code]! & TOKEN) !== 0) code = text.charCodeAt(++at);
    if (code !== COLON || at === this.start) return false;
    this.nameEnd = at;
    code = text.charCodeAt(++at);
    while (code === SP || code === HTAB) code = text.charCodeAt(++at);
    this.valueStart = at;
    while ((BYTE_CLASS[code]! & VALUE) !== 0) code = text.charCodeAt(++at);
    if (code !== CR) return false;
    this.valueEnd = at;
    this.next = at + 2;
    this.name = this.#known();
    return true;
  }

  get value(): string {
    let end = this.valueEnd;
    while (end > this.valueStart) {
      const code = this.text.charCodeAt(end - 1);
      if (code !== SP && code !== HTAB) break;
      end--;
    }
    return this.text.slice(this.valueStart, end);
  }

  /** The line is `Name: value` with one space and nothing behind the value: no reader can see another value in it. */
  get plain(): boolean {
    if (this.valueStart !== this.nameEnd + 2 || this.text.charCodeAt(this.valueStart - 1) !== SP) {
      return false;
    }
    const last = this.text.charCodeAt(this.valueEnd - 1);
    return last !== SP && last !== HTAB;
  }

  #known(): FieldName | null {
    this.underscored = false;
    const length = this.nameEnd - this.start;
    if (length > LONGEST) return null;
    const candidates = byLength[length];
    if (candidates === undefined) return null;
    for (let c = 0; c < candidates.length; c++) {
      const candidate = candidates[c]!;
      let i = 0, underscored = false;
      for (; i < length; i++) {
        const code = this.text.charCodeAt(this.start + i);
        // Only names of letters and hyphens are known, so `| 32` cannot make a wrong match among token bytes.
        if ((code | 32) === candidate.charCodeAt(i)) continue;
        if (code !== 0x5f || candidate.charCodeAt(i) !== 0x2d) break;
        underscored = true;
      }
      if (i < length) continue;
      this.underscored = underscored;
      return candidate;
    }
    return null;
  }
}

/** Calls `each` with every non-empty member of a comma-separated list, lower case and trimmed. */
export function eachListMember(value: string, each: (member: string) => void): void {
  let at = 0;
  while (at <= value.length) {
    let comma = value.indexOf(",", at);
    if (comma === -1) comma = value.length;
    const member = value.slice(at, comma).trim().toLowerCase();
    if (member !== "") each(member);
    at = comma + 1;
  }
}

/** Header lines without those whose name is in `names` (lower case). For the rare Connection-listed fields. */
export function withoutFields(lines: string, names: ReadonlySet<string>): string {
  const cursor = new FieldCursor();
  cursor.begin(lines, 0);
  let kept = "";
  while (cursor.next < lines.length) {
    if (!cursor.advance()) return kept;
    const name = lines.slice(cursor.start, cursor.nameEnd).toLowerCase();
    if (!names.has(name)) kept += lines.slice(cursor.start, cursor.next);
  }
  return kept;
}

/** All values of a field in header lines, joined as RFC 9110 section 5.2 says; null where there is none. */
export function fieldValue(lines: string, name: string): string | null {
  const cursor = new FieldCursor();
  cursor.begin(lines, 0);
  let found: string | null = null;
  while (cursor.next < lines.length) {
    if (!cursor.advance()) return found;
    if (cursor.nameEnd - cursor.start !== name.length) continue;
    if (lines.slice(cursor.start, cursor.nameEnd).toLowerCase() !== name) continue;
    found = found === null ? cursor.value : `${found}, ${cursor.value}`;
  }
  return found;
}
