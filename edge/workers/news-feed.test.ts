import { expect, test } from "bun:test";
import type { News } from "../rows/pending-changes.ts";
import { NewsFeed } from "./news-feed.ts";

test("NewsFeed sends the first news at once, and what comes before it is asked for more as one", () => {
  const sent: News[] = [];
  const feed = new NewsFeed((news) => sent.push(news));
  for (const key of ["a", "b", "c", "b"]) {
    feed.pending.add("hostnames", key);
    feed.flush();
  }
  expect(sent.map(({ keys }) => keys)).toEqual([[["hostnames", ["a"]]]]);
  feed.more();
  expect(sent[1]?.keys).toEqual([["hostnames", ["b", "c"]]]);
  feed.more();
  expect(sent.length).toBe(2);
  feed.pending.add("hostnames", "d");
  feed.flush();
  expect(sent[2]?.keys).toEqual([["hostnames", ["d"]]]);
});
