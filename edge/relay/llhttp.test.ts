/**
 * llhttp's own cases (nodejs/llhttp, MIT), run through this codec at once and a byte at a time. A strict proxy should
 * refuse what llhttp refuses, and read the rest alike: the same messages, ends and payloads. Cases that tell llhttp to be
 * lenient must be refused here. Each difference is listed in `llhttp.exceptions.ts` with its reason.
 *
 * The cases are not part of this repository; where the file is not there, the tests say so and are skipped.
 */
import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { llhttpExceptions } from "./llhttp.exceptions.ts";
import { readRequests, readResponses, single, type Stream } from "./read-messages.fixture.ts";

const FILE = process.env["LLHTTP_CASES"] ?? resolve(import.meta.dir, "../../../shared/data/llhttp.json");

interface Case {
  name: string;
  type: string | null;
  meta: { skipBody?: boolean };
  rawBase64: string;
  events: string[];
  error: string | null;
}

/** What both readers say of a case, in comparable form. */
interface Verdict {
  refused: boolean;
  /** Whole ones, and where nothing was refused the one that was under way. */
  messages: { start: string; payload: string; end: number | null }[];
}

const SKIPPED_REASON = `${FILE} is not there (set LLHTTP_CASES)`;
const there = existsSync(FILE);
if (!there) console.log(`skipped: ${SKIPPED_REASON}`);
const cases: Case[] = there ? JSON.parse(readFileSync(FILE, "utf8")).cases.flatMap(unmerged) : [];

/**
 * Where a case of llhttp's documents has a remark between its bytes and its events, the file has run it together with
 * those that follow, up to the next events: `bytes, remark, events, title, bytes, …`, and then the last one's events.
 */
function unmerged(one: Case): Case[] {
  const text = Buffer.from(one.rawBase64, "base64").toString("latin1");
  if (!text.includes("\r\n```\r\n")) return [one];
  const blocks = text.split(/(?:^|\r\n)```(?:http|log)?(?:\r\n|$)/);
  const found: Case[] = [];
  let name = one.name, type = one.type;
  for (let i = 0; i < blocks.length; i += 4) {
    const between = blocks[i - 1] ?? "";
    name = /^#+ (.*)\r$/m.exec(between)?.[1] ?? name;
    type = /"type": "([^"]*)"/.exec(between)?.[1] ?? type;
    const events = blocks[i + 2]?.split("\r\n") ?? one.events;
    const error = events.at(-1)!.includes(" error ") ? events.at(-1)! : null;
    const rawBase64 = Buffer.from(blocks[i]!, "latin1").toString("base64");
    const folder = one.name.split(":")[0]!;
    found.push({ ...one, name: i === 0 ? name : `${folder}: ${name}`, type, rawBase64, events, error });
  }
  return found;
}

const isLenient = ({ name, type }: Case) => /lenient/.test(type ?? "") || /\((lenient|relaxed)\)/.test(name);
const isResponse = ({ name }: Case) => name.startsWith("response/");

/** llhttp stops here too, with all it has read being valid. */
const STOPS = /code=(5|22|23) /;

/** The events count the bytes of UTF-8, which the file has as single bytes. */
function bytesOf(one: Case): Buffer {
  return Buffer.from(Buffer.from(one.rawBase64, "base64").toString("latin1"), "utf8");
}

function llhttp(one: Case): Verdict {
  const bytes = bytesOf(one);
  const messages: Verdict["messages"] = [];
  let method = "", url = "";
  for (const event of one.events) {
    const span = /^off=(\d+) len=(\d+) span\[(\w+)\]=/.exec(event);
    if (span !== null) {
      const at = Number(span[1]);
      const text = bytes.toString("latin1", at, at + Number(span[2]));
      if (span[3] === "method") method = text;
      else if (span[3] === "url") url += text;
      else if (span[3] === "body") messages.at(-1)!.payload += text;
      continue;
    }
    const headers = /headers complete (?:method=\d+|status=(\d+))/.exec(event);
    if (headers !== null) {
      messages.push({ start: headers[1] ?? `${method} ${url}`, payload: "", end: null });
      url = "";
    }
    const end = /^off=(\d+) message complete/.exec(event);
    if (end !== null) messages.at(-1)!.end = Number(end[1]);
  }
  const refused = one.error !== null && !STOPS.test(one.error);
  return { refused, messages: refused ? messages.filter((message) => message.end !== null) : messages };
}

/** What a head says is judged once it is whole: where a case ends within one, an empty line ends it. */
function ours(one: Case, split: (bytes: Buffer) => Buffer[]): Verdict {
  const bytes = one.type === "url" ? asRequest(bytesOf(one)) : bytesOf(one);
  const read = (all: Buffer): Stream =>
    isResponse(one)
      ? readResponses(split(all), { method: one.meta.skipBody === true ? "HEAD" : "GET" })
      : readRequests(split(all), { prepare: withHost });
  let stream = read(bytes);
  const mustRefuse = isLenient(one) || (one.error !== null && !STOPS.test(one.error));
  if (stream.refusal === null && mustRefuse) stream = read(Buffer.concat([bytes, Buffer.from("\r\n\r\n")]));
  const refused = stream.refusal !== null;
  const messages = stream.messages.map(({ start, payload, end }) => ({ start, payload, end }));
  return { refused, messages: refused ? messages.filter((message) => message.end !== null) : messages };
}

function asRequest(url: Buffer): Buffer {
  return Buffer.concat([Buffer.from("GET "), url, Buffer.from(" HTTP/1.1\r\n\r\n")]);
}

/** Most of llhttp's requests name no host, and one without is refused here: give them the one that they would name. */
function withHost(text: string): string {
  const lineEnd = text.indexOf("\r\n") + 2;
  if (/\nhost:/i.test(text)) return text;
  const authority = /^\S+ https?:\/\/([^/? ]+)/.exec(text)?.[1] ?? "llhttp.test";
  return `${text.slice(0, lineEnd)}Host: ${authority}\r\n${text.slice(lineEnd)}`;
}

/** @returns how the two differ, or null */
function difference(one: Case, found: Verdict): string | null {
  if (isLenient(one)) return found.refused ? null : "accepted without leniency";
  if (one.type === "url") {
    const refused = one.error !== null;
    return found.refused === refused ? null : refused ? "accepted" : "refused";
  }
  const expected = llhttp(one);
  if (found.refused !== expected.refused) return found.refused ? "refused" : "accepted";
  if (found.messages.length !== expected.messages.length) {
    return `${found.messages.length} messages, and not ${expected.messages.length}`;
  }
  for (const [i, message] of found.messages.entries()) {
    const want = expected.messages[i]!;
    const absolute = /^(\S+) https?:\/\/[^/? ]*/.exec(want.start);
    if (message.start !== want.start && absolute === null) return `${message.start}, and not ${want.start}`;
    if (message.payload !== want.payload) return `payload ${JSON.stringify(message.payload)}`;
    if (message.end !== want.end) return `ends at ${message.end}, and not ${want.end}`;
  }
  return null;
}

/** Two cases share a name. */
const seen = new Map<string, number>();
const titleOf = ({ name }: Case) => {
  const times = (seen.get(name) ?? 0) + 1;
  seen.set(name, times);
  return times === 1 ? name : `${name} #${times}`;
};

describe("llhttp's cases", () => {
  test.skipIf(!there)(`each listed exception is a case (${there ? cases.length : SKIPPED_REASON})`, () => {
    const names = new Set(cases.map(({ name }) => name));
    expect(Object.keys(llhttpExceptions).filter((name) => !names.has(name.replace(/ #\d$/, "")))).toEqual([]);
  });
  for (const one of cases) {
    const title = titleOf(one);
    test(title, () => {
      const atOnce = ours(one, (bytes) => [bytes]);
      expect(ours(one, single)).toEqual(atOnce);
      const differs = difference(one, atOnce);
      const listed = llhttpExceptions[title];
      if (listed === undefined) expect(differs).toBeNull();
      else expect(differs, `${title} no longer differs: take it off the list`).toBe(listed[0]);
    });
  }
});
