import { expect, test } from "bun:test";
import fc from "fast-check";
import { checkedTraceState, formatTraceParent, parseTraceParent } from "./trace-context.ts";

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const SPAN = "b7ad6b7169203331";
const VALID = `00-${TRACE}-${SPAN}-01`;

test("parseTraceParent() reads what the recommendation calls valid", () => {
  expect(parseTraceParent(VALID)).toEqual({ traceId: TRACE, spanId: SPAN, sampled: true });
  expect(parseTraceParent(`00-${TRACE}-${SPAN}-00`)!.sampled).toBe(false);
  // Flags that are not known yet mean nothing; a later version may say more behind its flags.
  expect(parseTraceParent(`00-${TRACE}-${SPAN}-02`)!.sampled).toBe(false);
  expect(parseTraceParent(`00-${TRACE}-${SPAN}-ff`)!.sampled).toBe(true);
  expect(parseTraceParent(`cc-${TRACE}-${SPAN}-01-what-the-future-says`)!.traceId).toBe(TRACE);
  expect(parseTraceParent(`cc-${TRACE}-${SPAN}-01`)!.traceId).toBe(TRACE);
});

test("parseTraceParent() takes nothing that the recommendation calls invalid", () => {
  for (
    const wrong of [
      "",
      "00",
      VALID.toUpperCase(),
      `ff-${TRACE}-${SPAN}-01`,
      `00-${"0".repeat(32)}-${SPAN}-01`,
      `00-${TRACE}-${"0".repeat(16)}-01`,
      `${VALID}-extra`,
      `${VALID}.`,
      `cc-${TRACE}-${SPAN}-01.`,
      `00-${TRACE}-${SPAN}-0`,
      `00-${TRACE}-${SPAN}-0x`,
      `0-${TRACE}-${SPAN}-01`,
      `00_${TRACE}-${SPAN}-01`,
      `00-${TRACE}${SPAN}--01`,
      ` ${VALID}`,
      `${VALID}, ${VALID}`,
    ]
  ) expect(parseTraceParent(wrong), wrong).toBeNull();
});

test("formatTraceParent() writes what parseTraceParent() reads", () => {
  const hex = (length: number) =>
    fc.string({ unit: fc.constantFrom(..."0123456789abcdef"), minLength: length, maxLength: length })
      .filter((text) => /[^0]/.test(text));
  fc.assert(fc.property(hex(32), hex(16), fc.boolean(), (traceId, spanId, sampled) => {
    const parent = { traceId, spanId, sampled };
    expect(parseTraceParent(formatTraceParent(parent))).toEqual(parent);
  }));
});

test("checkedTraceState() passes valid lists on and takes nothing else", () => {
  for (
    const right of ["rojo=00f067aa0ba902b7", "rojo=1,congo=2", "fw529a3039@dt=FfffFf;x", "a=x y", "a*/-_0=!"]
  ) {
    expect(checkedTraceState(right)).toBe(right);
  }
  expect(checkedTraceState(" rojo=1 ,, congo=2 ,")).toBe("rojo=1,congo=2");
  for (
    const wrong of [
      "",
      ",",
      "rojo",
      "=1",
      "rojo=",
      "Rojo=1",
      "0rojo=1",
      "rojo=a=b",
      "rojo=1,rojo=2",
      "a@0b=1",
      "a@abcdefghijklmno=1",
      "rojo=\u00e9",
      "a\u0001=1",
      `rojo=${"x".repeat(257)}`,
      Array.from({ length: 33 }, (_, i) => `k${i}=1`).join(","),
    ]
  ) expect(checkedTraceState(wrong), wrong).toBeNull();
});

test("checkedTraceState() shortens a long list by whole entries, the large ones first", () => {
  const large = `big=${"x".repeat(200)}`;
  const small = Array.from({ length: 20 }, (_, i) => `k${i}=${"y".repeat(20)}`);
  const kept = checkedTraceState([large, ...small].join(","))!;
  expect(kept.length).toBeLessThanOrEqual(512);
  expect(kept).not.toContain("big=");
  expect(kept.split(",")).toEqual(small.slice(0, kept.split(",").length));
});
