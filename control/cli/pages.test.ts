import { expect, test } from "bun:test";
import { type Page, PAGES_MAX, readPages } from "./pages.ts";

/** Two a page, by their number. */
function pageOf(all: readonly number[], after: string | null): Page<number> {
  const start = after === null ? 0 : Number(after) + 1;
  const nodes = all.slice(start, start + 2);
  const end = start + nodes.length - 1;
  return {
    edges: nodes.map((node) => ({ node })),
    pageInfo: { hasNextPage: end + 1 < all.length, endCursor: nodes.length === 0 ? null : String(end) },
  };
}

test.each([0, 1, 2, 3, 5])("readPages() gives all of %d, in order", async (count) => {
  const all = Array.from({ length: count }, (_, at) => at);
  const cursors: (string | null)[] = [];
  const got = await readPages((after) => {
    cursors.push(after);
    return Promise.resolve(pageOf(all, after));
  });
  expect(got).toEqual(all);
  expect(cursors).toHaveLength(Math.max(1, Math.ceil(count / 2)));
});

test("readPages() ends at its bound with an API that never does", async () => {
  let asked = 0;
  await readPages(() => {
    asked++;
    return Promise.resolve({ edges: [], pageInfo: { hasNextPage: true, endCursor: "same" } });
  });
  expect(asked).toBe(PAGES_MAX);
});
