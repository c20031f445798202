import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { chooseCoding, CODINGS } from "./accept-encoding.ts";

describe("chooseCoding()", () => {
  test("prefers zstd, then br, then gzip, where the client has no preference", () => {
    expect(chooseCoding("gzip, deflate, br, zstd")).toBe("zstd");
    expect(chooseCoding("gzip, deflate, br")).toBe("br");
    expect(chooseCoding("gzip, deflate")).toBe("gzip");
    expect(chooseCoding("x-gzip")).toBe("gzip");
    expect(chooseCoding("GZip")).toBe("gzip");
  });

  test("follows the client's weights, and zero forbids", () => {
    expect(chooseCoding("zstd;q=0.5, gzip;q=0.9, br;q=0.89")).toBe("gzip");
    expect(chooseCoding("gzip;q=0, br;q=0.000, *;q=0")).toBe(null);
    expect(chooseCoding("*")).toBe("zstd");
    expect(chooseCoding("zstd;q=0, *;q=0.1")).toBe("br");
    expect(chooseCoding("br ; Q=0.2 , gzip\t;q=0.1")).toBe("br");
  });

  test("leaves the content alone where the client prefers that or says nothing", () => {
    expect(chooseCoding(null)).toBe(null);
    expect(chooseCoding("")).toBe(null);
    expect(chooseCoding("identity")).toBe(null);
    expect(chooseCoding("identity;q=1, gzip;q=0.5")).toBe(null);
    expect(chooseCoding("identity;q=0.5, gzip;q=0.5")).toBe("gzip");
    expect(chooseCoding("deflate, compress")).toBe(null);
  });

  test("ignores a member whose weight is none", () => {
    for (const weight of ["q=1.1", "q=2", "q=", "q", "q=0.1234", "q=-1", "q=0,5", "x=1", "q=1.", "q=.5"]) {
      const expected = weight === "q=1." ? "gzip" : null;
      expect([weight, chooseCoding(`gzip;${weight}`)]).toEqual([weight, expected]);
    }
  });

  test("gives what an exhaustive reading of the list gives, for any weights in any order", () => {
    const seed = Date.now() & 0x7fffffff;
    console.log(`accept-encoding.test seed ${seed}`);
    const member = fc.tuple(
      fc.constantFrom(...CODINGS, "identity", "*", "deflate"),
      fc.integer({ min: 0, max: 1_000 }),
    );
    const list = fc.uniqueArray(member, { selector: ([name]) => name, maxLength: 6 });
    fc.assert(
      fc.property(list, (members) => {
        const text = members.map(([name, q]) => `${name};q=${(q / 1_000).toFixed(3)}`).join(", ");
        const named = new Map<string, number>(members);
        const weightOf = (name: string) => named.get(name) ?? named.get("*") ?? 0;
        const best = Math.max(...CODINGS.map(weightOf));
        const expected = best === 0 || (named.get("identity") ?? 0) > best
          ? null
          : CODINGS.find((coding) => weightOf(coding) === best)!;
        expect(chooseCoding(text)).toBe(expected);
      }),
      { seed, numRuns: 500 },
    );
  });

  test("takes any text without an exception", () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 200 }), (text) => {
        expect([null, ...CODINGS]).toContain(chooseCoding(text));
      }),
    );
  });
});
