import { describe, expect, test } from "bun:test";
import { ReplyError, ReplyParser } from "./reply-parser.ts";

const text = (bytes: Buffer, from: number, to: number) => bytes.toString("utf8", from, to);

/** Of XREAD, with what may stand in one: several streams, text of several bytes a sign, line ends, nothing. */
const STREAMS = [
  ["godwit:state:global", [["1-0", ["owner", "api", "batch", "größer\r\n$3\r\n"]], ["2-1", ["owner", ""]]]],
  ["godwit:state:region:ams", []],
  ["deleted", [["3-0", null]]],
];

function encoded(reply: unknown): string {
  if (reply === null) return "$-1\r\n";
  if (typeof reply === "number") return `:${reply}\r\n`;
  if (typeof reply === "string") return `$${Buffer.byteLength(reply)}\r\n${reply}\r\n`;
  const items = reply as unknown[];
  return `*${items.length}\r\n${items.map(encoded).join("")}`;
}

function parsed(reply: string): unknown {
  return new ReplyParser(text).push(Buffer.from(reply));
}

describe("ReplyParser", () => {
  test("reads a reply wherever its pieces end, and the next one after it", () => {
    const whole = Buffer.from(encoded(STREAMS));
    for (let size = 1; size <= whole.length; size++) {
      const parser = new ReplyParser(text);
      for (let round = 0; round < 2; round++) {
        let reply: unknown;
        for (let at = 0; at < whole.length; at += size) {
          expect(reply).toBeUndefined();
          reply = parser.push(whole.subarray(at, at + size));
        }
        expect(reply).toEqual(STREAMS);
      }
    }
  });

  test("knows nothing, numbers, words and errors", () => {
    expect(parsed("*-1\r\n")).toBeNull();
    expect(parsed("$-1\r\n")).toBeNull();
    expect(parsed("*0\r\n")).toEqual([]);
    expect(parsed("+OK\r\n")).toBe("OK");
    expect(parsed("*2\r\n:-12\r\n:7\r\n")).toEqual([-12, 7]);
    expect(parsed("-MOVED 1 127.0.0.1:2\r\n")).toEqual(new ReplyError("MOVED 1 127.0.0.1:2"));
  });

  test("refuses what is no reply, or more than one", () => {
    expect(() => parsed("HTTP/1.1 400\r\n")).toThrow("no reply begins with byte 72");
    expect(() => parsed("*x\r\n")).toThrow("a reply's number has byte 120");
    expect(() => parsed("+OK\r\n+OK\r\n")).toThrow("5 bytes after a reply");
    expect(() => parsed("*1\r\n".repeat(9))).toThrow("nested more than 8 deep");
  });
});
