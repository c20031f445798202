import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { MemberState } from "../contract/membership.ts";
import { canonicalAddress } from "./address.ts";
import { INCARNATION_MAX, type News } from "./member.ts";
import {
  type Body,
  bodyBytes,
  decode,
  encode,
  type Message,
  newsBytes,
  PAYLOAD_BYTES_MAX,
} from "./message.ts";

const id = fc.stringMatching(/^[a-z0-9][a-z0-9-]{0,39}$/);
const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const incarnation = fc.integer({ min: 0, max: INCARNATION_MAX });
const address = fc.oneof(fc.ipV4(), fc.ipV6().map((text) => canonicalAddress(text)!));
const news: fc.Arbitrary<News> = fc.record({
  id,
  state: fc.constantFrom(...MemberState.options),
  incarnation,
  at: fc.record({ address, port: fc.integer({ min: 1, max: 65_535 }) }),
  from: fc.option(id),
  ageS: u32,
}).map((each) => ({
  ...each,
  from: each.state === "suspect" ? each.from : null,
  ageS: each.state === "dead" || each.state === "left" ? each.ageS : 0,
}));
const body: fc.Arbitrary<Body> = fc.oneof(
  fc.record({ kind: fc.constantFrom("ping" as const, "ask" as const), sequence: u32, target: id }),
  fc.record({ kind: fc.constantFrom("ack" as const, "nack" as const), sequence: u32 }),
  fc.record({ kind: fc.constant("compare" as const), sum: u32, back: fc.boolean() }),
  fc.record({ kind: fc.constantFrom("gossip" as const, "state" as const) }),
);
const message: fc.Arbitrary<Message> = fc.tuple(body, id, incarnation, fc.array(news, { maxLength: 12 })).map(
  (
    [body, id, incarnation, news],
  ) => ({ ...body, id, incarnation, news }),
);

describe("decode()", () => {
  test("gives back what encode() was given, whose size is as told", () => {
    fc.assert(fc.property(message, (given) => {
      const bytes = encode(given);
      const size = given.news.reduce((sum, each) => sum + newsBytes(each), bodyBytes(given.id, given));
      expect(bytes.length).toBe(size);
      expect(decode(bytes)).toEqual(given);
    }));
  });
  test("refuses each message that is cut off or has more behind it", () => {
    fc.assert(
      fc.property(message, fc.nat(), (given, draw) => {
        const bytes = encode(given);
        expect(decode(bytes.subarray(0, draw % bytes.length))).toBe(null);
        expect(decode(Buffer.concat([bytes, Buffer.alloc(1)]))).toBe(null);
      }),
      { numRuns: 300 },
    );
  });
  test("never throws, whatever the bytes, and what it takes can be written again", () => {
    const changed = fc.tuple(message, fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })))).map((
      [given, edits],
    ) => {
      const bytes = encode(given);
      for (const [at, byte] of edits) bytes[at % bytes.length] = byte;
      return bytes;
    });
    const any = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes));
    fc.assert(
      fc.property(fc.oneof(changed, any), (bytes) => {
        const read = decode(bytes);
        if (read !== null) expect(decode(encode(read))).toEqual(read);
      }),
      { numRuns: 3_000 },
    );
  });
  test("refuses what is larger than any datagram of ours", () => {
    expect(decode(Buffer.alloc(PAYLOAD_BYTES_MAX + 1))).toBe(null);
  });
});
