import { expect, test } from "bun:test";
import { rangeOf } from "./range.ts";

const ETAG = '"abc"';
const of = (range: string | undefined, ifRange?: string) => rangeOf(range, ifRange, ETAG, 100);

test("rangeOf() reads single ranges", () => {
  expect(of("bytes=0-9")).toEqual({ first: 0, last: 9 });
  expect(of("bytes=90-")).toEqual({ first: 90, last: 99 });
  expect(of("bytes=90-1000")).toEqual({ first: 90, last: 99 });
  expect(of("bytes=-10")).toEqual({ first: 90, last: 99 });
  expect(of("bytes=-1000")).toEqual({ first: 0, last: 99 });
  expect(of("Bytes=99-99")).toEqual({ first: 99, last: 99 });
});

test("rangeOf() ignores what is invalid, of another unit, or a list", () => {
  for (
    const range of [undefined, "bytes=", "bytes=-", "bytes=9-1", "lines=0-1", "bytes=0-1,3-4", "bytes=a-b"]
  ) {
    expect(of(range)).toBeNull();
  }
  expect(of(`bytes=${"9".repeat(40)}-`)).toBeNull();
});

test("rangeOf() says where no byte is left", () => {
  expect(of("bytes=100-")).toBe("unsatisfiable");
  expect(of("bytes=-0")).toBe("unsatisfiable");
  expect(rangeOf("bytes=0-", undefined, ETAG, 0)).toBe("unsatisfiable");
});

test("rangeOf() heeds If-Range by the strong tag alone", () => {
  expect(of("bytes=5-9", ETAG)).toEqual({ first: 5, last: 9 });
  expect(of("bytes=5-9", '"other"')).toBeNull();
  expect(of("bytes=5-9", `W/${ETAG}`)).toBeNull();
  expect(of("bytes=500-", '"other"')).toBeNull();
});
