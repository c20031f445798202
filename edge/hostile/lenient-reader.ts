/**
 * HTTP/1.1 read as careless programs read it. Each `Reading` departs from RFC 9112 in one way that some server, framework
 * or client has been seen to. Where all readings of the same bytes find the same messages, nothing can hide between the
 * edge and whoever stands behind it; where two differ, the bytes are a way to smuggle.
 */
export interface Reading {
  readonly name: string;
  readonly bareLf?: boolean;
  readonly bareCr?: boolean;
  /** Which field is believed where a message has both. */
  readonly both?: "chunked" | "length" | "neither";
  /** Which Transfer-Encoding is chunked: the word alone, the word anywhere, the line byte for byte, its last or first member. */
  readonly coding?: "word" | "anywhere" | "bytes" | "last" | "first";
  /** Which one of several lines of a name counts. */
  readonly repeated?: "first" | "last";
  /** How Content-Length is read: digits alone, digits at its start, as C reads numbers, or in lines that are byte for byte plain. */
  readonly number?: "digits" | "prefix" | "c" | "bytes";
  /** What a line that begins with a space is: part of the one before, nothing, or a field. */
  readonly folded?: "joined" | "skipped" | "field";
  /** Spaces and control bytes around a name do not count. */
  readonly trimsNames?: boolean;
  /** Bytes that cannot stand in a name or value are left out. */
  readonly dropsBytes?: boolean;
  readonly underscores?: boolean;
  /** NUL ends a line. */
  readonly nulEnds?: boolean;
  /** A quoted chunk extension may hold line ends. */
  readonly quotedLines?: boolean;
  /** Chunk sizes are numbers of this many bits, the rest is lost. */
  readonly sizeBits?: 32 | 64;
  /** A chunk's size ends at the first byte that is no digit, and the line at its LF. */
  readonly sizePrefix?: boolean;
  /** The two bytes behind a chunk are not looked at. */
  readonly chunkEndUnread?: boolean;
  /** Methods whose bodies are left unread. */
  readonly bodiless?: readonly string[];
  /** Responses alone: what ends at once. */
  readonly statusesWithBody?: boolean;
}

export const RFC: Reading = { name: "RFC 9112" };
export const READINGS: readonly Reading[] = [
  RFC,
  { name: "Content-Length before Transfer-Encoding", both: "length" },
  { name: "neither where both are there", both: "neither" },
  { name: "bare LF", bareLf: true },
  { name: "bare CR", bareCr: true },
  { name: "bare CR and LF", bareCr: true, bareLf: true },
  { name: "chunked anywhere in the value", coding: "anywhere" },
  { name: "chunked byte for byte", coding: "bytes" },
  { name: "chunked as the last coding", coding: "last" },
  { name: "chunked as the first coding", coding: "first" },
  { name: "the last of several lines", repeated: "last" },
  { name: "digits at the start of a length", number: "prefix" },
  { name: "lengths as C reads numbers", number: "c" },
  { name: "lengths byte for byte", number: "bytes" },
  { name: "folded lines left out", folded: "skipped" },
  { name: "folded lines as fields", folded: "field" },
  { name: "names trimmed", trimsNames: true },
  { name: "odd bytes left out", dropsBytes: true },
  { name: "underscores as hyphens", underscores: true },
  { name: "NUL as an end", nulEnds: true },
  { name: "line ends in quoted extensions", quotedLines: true },
  { name: "chunk sizes of 32 bits", sizeBits: 32, sizePrefix: true },
  { name: "chunk sizes of 64 bits", sizeBits: 64, sizePrefix: true },
  { name: "chunk sizes by their first digits", sizePrefix: true, bareLf: true },
  { name: "ends of chunks unread", chunkEndUnread: true },
  {
    name: "everything at once",
    bareLf: true,
    both: "length",
    coding: "anywhere",
    repeated: "last",
    number: "prefix",
    trimsNames: true,
    dropsBytes: true,
    underscores: true,
    sizePrefix: true,
    chunkEndUnread: true,
  },
];

export interface Seen {
  /** `METHOD TARGET` or the status. */
  readonly start: string;
  readonly host: string;
  readonly body: string;
}

export interface Sight {
  readonly messages: readonly Seen[];
  /** Bytes of a message that is not whole, or of no message at all. */
  readonly rest: string;
}

/** @param text one character a byte */
export function seeRequests(text: string, reading: Reading): Sight {
  return see(text, reading, (words) => ({
    start: `${words[0] ?? ""} ${words[1] ?? ""}`,
    bodiless: reading.bodiless?.includes(words[0] ?? "") ?? false,
    untilClose: false,
  }));
}

/** @param methods of the requests that the responses answer, in order */
export function seeResponses(text: string, methods: readonly string[], reading: Reading): Sight {
  let finals = 0;
  const { messages, rest } = see(text, reading, (words) => {
    const status = Number(words[1]);
    const method = methods[finals];
    if (status >= 200) finals++;
    const none = status < 200 || status === 204 || status === 304;
    const bodiless = method === "HEAD" || (none && reading.statusesWithBody !== true);
    return { start: words[1] ?? "", bodiless, untilClose: !none };
  });
  // A response has no Host.
  return { messages: messages.map((message) => ({ ...message, host: "" })), rest };
}

interface Begun {
  start: string;
  bodiless: boolean;
  untilClose: boolean;
}

function see(text: string, reading: Reading, begin: (words: string[]) => Begun): Sight {
  const messages: Seen[] = [];
  let at = 0;
  while (at < text.length) {
    const head = readLines(text, at, reading);
    if (head === null) break;
    if (head.lines.length === 0) {
      at = head.end;
      continue;
    }
    const [first = "", ...others] = head.lines;
    const begun = begin(first.split(/[ \t]+/));
    const fields = readFields(others, reading);
    const body = begun.bodiless
      ? { text: "", end: head.end }
      : readBody(text, head.end, fields, reading, begun);
    if (body === null) break;
    const hosts = fields.filter(({ name }) => name === "host");
    const host = (reading.repeated === "last" ? hosts.at(-1) : hosts[0])?.value ?? "";
    messages.push({ start: begun.start, host: host.toLowerCase(), body: body.text });
    at = body.end;
  }
  return { messages, rest: text.slice(at) };
}

/** @returns the line at `at` and the index behind its end; null where it has none */
function readLine(text: string, at: number, reading: Reading): { line: string; end: number } | null {
  for (let i = at; i < text.length; i++) {
    const character = text[i];
    if (character === "\r" && text[i + 1] === "\n") return { line: text.slice(at, i), end: i + 2 };
    if (character === "\n" && reading.bareLf === true) return { line: text.slice(at, i), end: i + 1 };
    if (character === "\r" && reading.bareCr === true && i + 1 < text.length) {
      return { line: text.slice(at, i), end: i + 1 };
    }
    if (character === "\0" && reading.nulEnds === true) return { line: text.slice(at, i), end: i + 1 };
  }
  return null;
}

/** @returns lines up to an empty one */
function readLines(text: string, from: number, reading: Reading): { lines: string[]; end: number } | null {
  const lines: string[] = [];
  let at = from;
  while (true) {
    const read = readLine(text, at, reading);
    if (read === null) return null;
    at = read.end;
    if (read.line === "") return { lines, end: at };
    lines.push(read.line);
  }
}

interface Field {
  name: string;
  value: string;
  /** `Name: value`, no byte more. */
  plain: boolean;
}

function readFields(lines: readonly string[], reading: Reading): Field[] {
  const fields: Field[] = [];
  for (let line of lines) {
    if (/^[ \t]/.test(line)) {
      const last = fields.at(-1);
      if (reading.folded === "skipped") continue;
      if (reading.folded !== "field") {
        if (last !== undefined) last.value = `${last.value} ${line.trim()}`.trim();
        continue;
      }
      line = line.trimStart();
    }
    const colon = line.indexOf(":");
    if (colon === -1) continue;
    let name = line.slice(0, colon), value = line.slice(colon + 1);
    const plain = value.startsWith(" ") && value.slice(1) === value.trim();
    if (reading.dropsBytes === true) {
      name = name.replaceAll(/[^\x21-\x7e]/g, "");
      value = value.replaceAll(/[^\x20-\x7e]/g, "");
    }
    // deno-lint-ignore no-control-regex -- these bytes are what it is about
    if (reading.trimsNames === true) name = name.replaceAll(/^[\0-\x20\x7f-\xff]+|[\0-\x20\x7f-\xff]+$/g, "");
    if (reading.underscores === true) name = name.replaceAll("_", "-");
    fields.push({ name: name.toLowerCase(), value: value.replaceAll(/^[ \t]+|[ \t]+$/g, ""), plain });
  }
  return fields;
}

interface Body {
  text: string;
  end: number;
}

function readBody(text: string, at: number, fields: Field[], reading: Reading, begun: Begun): Body | null {
  const lengths = fields.filter(({ name }) => name === "content-length");
  const codings = fields.filter(({ name }) => name === "transfer-encoding");
  const chunked = isChunked(codings, reading);
  const length = readLength(reading.repeated === "last" ? lengths.at(-1) : lengths[0], reading);
  const both = chunked && length !== null;
  if (both && reading.both === "neither") return { text: "", end: at };
  if (chunked && !(both && reading.both === "length")) return readChunks(text, at, reading);
  if (length === null) {
    return begun.untilClose ? { text: text.slice(at), end: text.length } : { text: "", end: at };
  }
  if (at + length > text.length) return null;
  return { text: text.slice(at, at + length), end: at + length };
}

function isChunked(codings: Field[], reading: Reading): boolean {
  const one = reading.repeated === "last" ? codings.at(-1) : codings[0];
  if (one === undefined) return false;
  const values = codings.map(({ value }) => value.toLowerCase());
  const members = values.join(",").split(",").map((member) => member.trim());
  switch (reading.coding) {
    case "anywhere":
      return values.some((value) => value.includes("chunked"));
    case "bytes":
      return one.plain && one.value === "chunked";
    case "last":
      return members.at(-1) === "chunked";
    case "first":
      return members[0] === "chunked";
    default:
      return one.value.toLowerCase() === "chunked";
  }
}

function readLength(field: Field | undefined, reading: Reading): number | null {
  if (field === undefined) return null;
  const { value } = field;
  if (reading.number === "bytes") return field.plain && /^(0|[1-9]\d*)$/.test(value) ? Number(value) : null;
  if (reading.number === "prefix") {
    const found = /^[+-]?(\d+)/.exec(value);
    return found === null ? null : Number(found[1]);
  }
  if (reading.number === "c") {
    const found = /^\+?(0x[0-9a-f]+|0[0-7]*|[1-9]\d*)/i.exec(value);
    if (found === null) return null;
    const digits = found[1]!;
    return /^0\d/.test(digits) ? parseInt(digits, 8) : Number(digits);
  }
  return /^\d+$/.test(value) ? Number(value) : null;
}

function readChunks(text: string, from: number, reading: Reading): Body | null {
  let at = from, body = "";
  while (true) {
    const line = readSizeLine(text, at, reading);
    if (line === null) return null;
    const size = readSize(line.line, reading);
    if (size === null) return null;
    at = line.end;
    if (size === 0) {
      const trailers = readLines(text, at, reading);
      return trailers === null ? null : { text: body, end: trailers.end };
    }
    if (at + size > text.length) return null;
    body += text.slice(at, at + size);
    at += size;
    if (reading.chunkEndUnread === true) at += 2;
    else {
      const end = readLine(text, at, reading);
      if (end === null || end.line !== "") return null;
      at = end.end;
    }
  }
}

function readSizeLine(text: string, at: number, reading: Reading): { line: string; end: number } | null {
  let found = readLine(text, at, reading);
  if (reading.quotedLines !== true) return found;
  while (found !== null && (text.slice(at, found.end).split('"').length - 1) % 2 === 1) {
    found = readLine(text, found.end, reading);
  }
  return found === null ? null : { line: text.slice(at, found.end), end: found.end };
}

function readSize(line: string, reading: Reading): number | null {
  const found = reading.sizePrefix === true
    ? /^[ \t]*(?:0x)?([0-9a-f]+)/i.exec(line)
    : /^([0-9a-f]+)(?=$|[;\r])/i.exec(line);
  if (found === null) return null;
  const size = BigInt(`0x${found[1]}`);
  const kept = reading.sizeBits === undefined ? size : BigInt.asUintN(reading.sizeBits, size);
  return kept > 1_000_000_000n ? Infinity : Number(kept);
}
