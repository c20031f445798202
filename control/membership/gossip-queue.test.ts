import { describe, expect, test } from "bun:test";
import { GossipQueue } from "./gossip-queue.ts";
import type { News } from "./member.ts";

const news = (id: string, incarnation = 1): News => ({
  id,
  state: "alive",
  incarnation,
  at: { address: "10.0.0.1", port: 1 },
  from: null,
  ageS: 0,
});
const take = (queue: GossipQueue, room = 100, times = 2, except: string | null = null) =>
  queue.take(room, () => 10, times, except).map(({ id, incarnation }) => `${id}${incarnation}`);

describe("GossipQueue", () => {
  test("gives each news out a bounded number of times", () => {
    const queue = new GossipQueue();
    queue.put(news("a"));
    expect([take(queue), take(queue), take(queue)]).toEqual([["a1"], ["a1"], []]);
    expect(queue.size).toBe(0);
  });
  test("keeps the newest of each host alone", () => {
    const queue = new GossipQueue();
    for (let i = 1; i <= 1_000; i++) queue.put(news("a", i));
    expect(queue.size).toBe(1);
    expect(take(queue)).toEqual(["a1000"]);
  });
  test("puts first what was sent the fewest times, and takes no more than there is room for", () => {
    const queue = new GossipQueue();
    queue.put(news("a"));
    take(queue, 10, 9);
    queue.put(news("b"));
    queue.put(news("c"));
    expect(take(queue, 20, 9)).toEqual(["b1", "c1"]);
    expect(take(queue, 35, 9)).toHaveLength(3);
  });
  test("tells nobody about itself", () => {
    const queue = new GossipQueue();
    queue.put(news("a"));
    queue.put(news("b"));
    expect(take(queue, 100, 9, "a")).toEqual(["b1"]);
  });
});
