/** For property tests: messages made from a grammar, with what they say; and ways to change a few of their bytes. */
import fc from "fast-check";
import type { Message } from "./read-messages.fixture.ts";

export interface Part {
  /** On the wire. */
  text: string;
  want: Message;
}

const tokenByte = fc.constantFrom(..."abcXYZ019-_.!#$%&'*+^`|~");
const token = fc.string({ unit: tokenByte, minLength: 1, maxLength: 8 });
/** Bytes that a value may hold, obs-text among them. */
const valueByte = fc.oneof(
  { weight: 8, arbitrary: fc.integer({ min: 0x21, max: 0x7e }) },
  { weight: 1, arbitrary: fc.constantFrom(0x20, 0x09) },
  { weight: 1, arbitrary: fc.integer({ min: 0x80, max: 0xff }) },
).map((code) => String.fromCharCode(code));
const value = fc.string({ unit: valueByte, maxLength: 20 });
const octets = fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes).toString("latin1"));
const space = fc.constantFrom(" ", "", "\t", "  ", " \t ");

/** A line that passes as it came, or one that does not go on: `kept` is what is left of it. */
interface Line {
  text: string;
  kept: string;
}
const ordinary: fc.Arbitrary<Line> = fc.tuple(token, space, value, space).map(
  ([name, before, text, after]) => {
    const line = `X-${name}:${before}${text}${after}\r\n`;
    return { text: line, kept: line };
  },
);
const hopByHop: fc.Arbitrary<Line> = fc.constantFrom(
  "Keep-Alive: timeout=5\r\n",
  "TE: trailers\r\n",
  "fly-request-id: me\r\n",
  "Connection: x-listed\r\nX-Listed: 1\r\n",
  "CONNECTION:keep-alive , x-listed\r\nx-LISTED: 2\r\n",
).map((text) => ({ text, kept: "" }));
const lines = fc.array(fc.oneof({ weight: 4, arbitrary: ordinary }, { weight: 1, arbitrary: hopByHop }), {
  maxLength: 6,
});

const randomCase = (text: string) =>
  fc.array(fc.boolean(), { minLength: text.length, maxLength: text.length }).map((upper) =>
    [...text].map((letter, i) => upper[i] ? letter.toUpperCase() : letter).join("")
  );

interface Framing {
  line: Line;
  body: string;
  payload: string;
  trailers: string[];
}
const counted: fc.Arbitrary<Framing> = fc.tuple(
  octets,
  space,
  space,
  fc.constantFrom("", "0", "000"),
  randomCase("content-length"),
).map(([payload, before, after, zeros, name]) => {
  const plain = zeros === "" && before === " " && after === "";
  const text = `${name}:${before}${zeros}${payload.length}${after}\r\n`;
  return {
    line: { text, kept: plain ? text : `Content-Length: ${payload.length}\r\n` },
    body: payload,
    payload,
    trailers: [],
  };
});
const quoted = fc.string({ unit: valueByte.filter((byte) => !/["\\]/.test(byte)), maxLength: 6 }).map((
  text,
) => `"${text}"`);
const extension = fc.tuple(token, fc.option(fc.oneof(token, quoted))).map(([name, set]) =>
  set === null ? `;${name}` : `;${name}=${set}`
);
const extensions = fc.array(extension, { maxLength: 2 }).map((each) => each.join(""));
const size = (length: number) =>
  fc.constantFrom(length.toString(16), length.toString(16).toUpperCase(), `00${length.toString(16)}`);
const chunk = octets.filter((text) => text !== "").chain((text) =>
  fc.tuple(size(text.length), extensions).map(([digits, more]) => ({
    text: `${digits}${more}\r\n${text}\r\n`,
    payload: text,
  }))
);
const trailer = fc.tuple(token, value).map(([name, text]) => `T-${name}:${text}`);
const chunked: fc.Arbitrary<Framing> = fc.tuple(
  fc.array(chunk, { maxLength: 4 }),
  fc.constantFrom("0", "00", "0;end", '0;a="b"'),
  fc.array(trailer, { maxLength: 3 }),
  space,
  randomCase("transfer-encoding"),
  randomCase("chunked"),
).map(([chunks, last, trailers, before, name, coding]) => {
  const text = `${name}:${before}${coding}\r\n`;
  const plain = before === " " && coding === "chunked";
  return {
    line: { text, kept: plain ? text : "Transfer-Encoding: chunked\r\n" },
    body: `${chunks.map((each) => each.text).join("")}${last}\r\n${
      trailers.map((each) => `${each}\r\n`).join("")
    }\r\n`,
    payload: chunks.map((each) => each.payload).join(""),
    trailers,
  };
});
const NO_BODY: Framing = { line: { text: "", kept: "" }, body: "", payload: "", trailers: [] };
const framing = fc.oneof(fc.constant(NO_BODY), counted, chunked);

function message(
  start: string,
  first: string,
  before: Line[],
  { line, body, payload, trailers }: Framing,
  after: Line[],
): Part {
  const all = [...before, line, ...after];
  // What one Connection field lists goes, wherever it stands: no other line has that name.
  return {
    text: `${first}\r\n${all.map((each) => each.text).join("")}\r\n${body}`,
    want: { start, fields: all.map((each) => each.kept).join(""), payload, trailers, end: null },
  };
}

const target = fc.string({
  unit: fc.integer({ min: 0x21, max: 0x7e }).filter((code) => code !== 0x23).map((code) =>
    String.fromCharCode(code)
  ),
  maxLength: 20,
})
  .map((text) => `/${text}`);
const host: Line = { text: "Host: a.test\r\n", kept: "Host: a.test\r\n" };
export const requestPart = fc.tuple(
  token.filter((method) => method !== "CONNECT" && method !== "TRACE"),
  target,
  lines,
  framing,
  lines,
)
  .map(([method, path, before, body, after]) =>
    message(`${method} ${path}`, `${method} ${path} HTTP/1.1`, [...before, host], body, after)
  );
const status = fc.integer({ min: 200, max: 599 }).filter((code) => code !== 204 && code !== 304);
const reason = fc.oneof(fc.constant(""), value.map((text) => ` ${text}`));
export const responsePart = fc.oneof(
  fc.tuple(status, reason, lines, fc.oneof(counted, chunked), lines).map((
    [code, words, before, body, after],
  ) => message(String(code), `HTTP/1.1 ${code}${words}`, before, body, after)),
  fc.tuple(fc.constantFrom(100, 103, 204), lines).map(([code, before]) =>
    message(String(code), `HTTP/1.1 ${code} X`, before, NO_BODY, [])
  ),
  fc.tuple(lines, counted, lines).map(([before, { line }, after]) =>
    message("304", "HTTP/1.1 304 Not Modified", before, { ...NO_BODY, line }, after)
  ),
);

export const places = fc.array(fc.nat(), { maxLength: 12 });

/** A few bytes changed, left out, or said twice. */
export interface Change {
  at: number;
  kind: "replace" | "remove" | "insert" | "repeat" | "word";
  byte: number;
  count: number;
  word: string;
}
/** What matters to readers, and is seldom met by chance. */
const WORDS = [
  "\r\n",
  "\r\n\r\n",
  "\n\n",
  "\r\r",
  "\r\n ",
  " ",
  "\0",
  "0\r\n\r\n",
  "5\r\nhello\r\n",
  "ffffffff\r\n",
  "100000005\r\n",
  ';a="',
  "HTTP/1.0",
  "HTTP/1.1",
  "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
  "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
  "HTTP/1.1 100 Continue\r\n\r\n",
  "\r\nHost: b.test",
  "\r\nContent-Length: 5",
  "\r\nContent_Length: 5",
  "\r\nTransfer-Encoding: chunked",
  "\r\nTransfer-Encoding : chunked",
  "\r\nExpect: 100-continue",
  "\r\nConnection: close",
  "\r\nConnection: Upgrade\r\nUpgrade: websocket",
  "\r\nUpgrade: h2c",
];
export const change: fc.Arbitrary<Change> = fc.record({
  at: fc.nat(),
  kind: fc.constantFrom("replace", "remove", "insert", "repeat", "word"),
  word: fc.constantFrom(...WORDS),
  byte: fc.oneof(
    fc.constantFrom(0, 9, 10, 13, 32, 34, 44, 48, 58, 59, 61, 95),
    fc.integer({ min: 0, max: 255 }),
  ),
  count: fc.integer({ min: 1, max: 12 }),
});
export function changed(bytes: Buffer, changes: readonly Change[]): Buffer {
  let now = bytes;
  for (const { at, kind, byte, count, word } of changes) {
    const place = now.length === 0 ? 0 : at % now.length;
    const before = now.subarray(0, place), after = now.subarray(place);
    if (kind === "replace") now = Buffer.concat([before, Buffer.from([byte]), after.subarray(1)]);
    else if (kind === "remove") now = Buffer.concat([before, after.subarray(count)]);
    else if (kind === "insert") now = Buffer.concat([before, Buffer.from([byte]), after]);
    else if (kind === "word") now = Buffer.concat([before, Buffer.from(word, "latin1"), after]);
    else now = Buffer.concat([before, after.subarray(0, count), after]);
  }
  return now;
}

export function bytesOf(parts: readonly Part[]): Buffer {
  return Buffer.from(parts.map(({ text }) => text).join(""), "latin1");
}
