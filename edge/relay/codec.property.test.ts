/**
 * The codec against an oracle: messages are made from a grammar, so that what they say is known before they are read;
 * and any bytes at all, valid or not, say the same in pieces of any size as at once. fast-check prints the seed of what
 * fails.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import fc from "fast-check";
import { LIMITS, type Limits } from "./limits.ts";
import {
  bytesOf,
  change,
  changed,
  type Part,
  places,
  requestPart,
  responsePart,
} from "./messages.fixture.ts";
import { readRequests, readResponses, single, splitAt, type Stream } from "./read-messages.fixture.ts";

// Shrinking what fails takes longer than a run.
setDefaultTimeout(120_000);
const RUNS = 300;
/** So small that generated messages meet each of them. */
const SMALL: Limits = {
  ...LIMITS,
  requestLineBytesMax: 30,
  fieldLineBytesMax: 26,
  headBytesMax: 90,
  fieldsMax: 4,
  chunkLineBytesMax: 6,
  trailerBytesMax: 20,
  bodyBytesMax: 50,
};

function expected(parts: readonly Part[]): Stream {
  let end = 0;
  const messages = parts.map(({ text, want }) => ({ ...want, end: end += text.length }));
  return { messages, refusal: null, over: false };
}

for (
  const [kind, part, read] of [["requests", requestPart, readRequests], [
    "responses",
    responsePart,
    readResponses,
  ]] as const
) {
  describe(`${kind} on one connection`, () => {
    const parts = fc.array(part, { minLength: 1, maxLength: 4 });

    test("say what they were made to say, in pieces of any size", () => {
      fc.assert(
        fc.property(parts, places, (all, cuts) => {
          const bytes = bytesOf(all);
          const want = expected(all);
          expect(read([bytes])).toEqual(want);
          expect(read(splitAt(bytes, cuts))).toEqual(want);
          expect(read(single(bytes))).toEqual(want);
        }),
        { numRuns: RUNS },
      );
    });

    for (const limits of [LIMITS, SMALL]) {
      test(`with some bytes changed say the same in pieces of any size as at once (heads of ${limits.headBytesMax})`, () => {
        fc.assert(
          fc.property(parts, fc.array(change, { maxLength: 4 }), places, (all, changes, cuts) => {
            const bytes = changed(bytesOf(all), changes);
            const atOnce = read([bytes], { limits });
            expect(read(splitAt(bytes, cuts), { limits })).toEqual(atOnce);
            expect(read(single(bytes), { limits })).toEqual(atOnce);
          }),
          { numRuns: RUNS },
        );
      });
    }

    test("made of any bytes say the same in pieces of any size as at once", () => {
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 200 }), places, (random, cuts) => {
          const bytes = Buffer.from(random);
          expect(read(splitAt(bytes, cuts))).toEqual(read([bytes]));
        }),
        { numRuns: RUNS },
      );
    });
  });
}
