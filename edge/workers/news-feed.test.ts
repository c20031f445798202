import { expect, test } from "bun:test";
import fc from "fast-check";
import { NEWS_UNASKED_MAX, NewsReceipts, weightOf } from "../rows/news-weight.ts";
import type { News } from "../rows/pending-changes.ts";
import { NewsFeed } from "./news-feed.ts";

function feedInto(sent: News[]) {
  const feed = new NewsFeed((news) => sent.push(news));
  return {
    feed,
    tell(...keys: string[]) {
      for (const key of keys) feed.pending.add("hostnames", key);
      feed.flush();
    },
  };
}
const many = (from: number, count: number) => Array.from({ length: count }, (_, i) => `host-${from + i}`);

test("NewsFeed sends single news at once, and goes on without being asked for a while", () => {
  const sent: News[] = [];
  const { feed, tell } = feedInto(sent);
  for (const key of ["a", "b", "b"]) tell(key);
  expect(sent.map(({ keys }) => keys)).toEqual([
    [["hostnames", ["a"]]],
    [["hostnames", ["b"]]],
    [["hostnames", ["b"]]],
  ]);
  expect(feed.held).toBe(false);
});

test("NewsFeed past its bound waits to be asked for more, and what comes until then is one", () => {
  const sent: News[] = [];
  const { feed, tell } = feedInto(sent);
  tell(...many(0, NEWS_UNASKED_MAX));
  for (const key of ["a", "b", "a"]) tell(key);
  expect(sent.length).toBe(1);
  expect(feed.held).toBe(true);
  feed.more(weightOf(sent[0]!));
  expect(sent[1]?.keys).toEqual([["hostnames", ["a", "b"]]]);
  expect(feed.held).toBe(false);
});

test("NewsFeed says nothing more after news that make its reader read everything", () => {
  const sent: News[] = [];
  const { feed, tell } = feedInto(sent);
  feed.pending.addTakenOver();
  feed.flush();
  tell("a");
  expect(sent.length).toBe(1);
});

test("NewsFeed and NewsReceipts: a reader that has taken in all is told the rest, whatever was sent", () => {
  const telling = fc.array(fc.record({ keys: fc.integer({ min: 1, max: 700 }), reads: fc.boolean() }), {
    maxLength: 60,
  });
  fc.assert(fc.property(telling, (steps) => {
    const sent: News[] = [];
    const { feed, tell } = feedInto(sent);
    const receipts = new NewsReceipts((taken) => feed.more(taken));
    let [told, heard, underWay] = [0, 0, 0];
    const read = () => {
      while (heard < sent.length) {
        while (heard < sent.length) receipts.add(sent[heard++]!);
        underWay = 0;
        receipts.settle();
      }
    };
    for (const { keys, reads } of steps) {
      const before = sent.length;
      tell(...many(told, keys));
      told += keys;
      // Only the last of what is under way may go past the bound.
      if (sent.length > before) expect(underWay).toBeLessThan(NEWS_UNASKED_MAX);
      for (const news of sent.slice(before)) underWay += weightOf(news);
      if (reads) read();
    }
    read();
    expect(sent.reduce((sum, news) => sum + weightOf(news), 0)).toBe(told);
    expect(feed.held).toBe(false);
  }));
});
