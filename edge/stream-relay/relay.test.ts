/** What befalls the two servers of a relay: whatever it is, the copy ends as the upstream's stream, entry for entry. */
import { afterEach, describe, expect, test } from "bun:test";
import { GLOBAL_STREAM, regionStream } from "../../control/contract/events.ts";
import { until } from "../edge.fixture.ts";
import { Cleanups } from "../replica/replica.fixture.ts";
import { entriesOf, SetBackRedis, startRelay, untilSame, WAIT_MS } from "./relay.fixture.ts";

const cleanups = new Cleanups();
afterEach(() => cleanups.run(), 60_000);
const AMS = regionStream("ams");

let number = 0;
async function append({ admin }: SetBackRedis, stream: string, many = 1): Promise<string> {
  let id = "";
  for (let n = 0; n < many; n++) {
    id = (await admin.xadd(stream, "*", "owner", "api", "batch", `${++number}`))!;
  }
  return id;
}

/** The relay counts a moment after its last write can be seen. */
async function begunAnew(
  relay: Awaited<ReturnType<typeof startRelay>>["relay"],
  wanted: Partial<ReturnType<typeof relay.status>["begun_anew"]>,
): Promise<void> {
  const now = () => relay.status().begun_anew;
  await until(() =>
    Object.entries(wanted).every(([why, times]) => now()[why as keyof typeof wanted] >= times)
  );
  expect(now()).toMatchObject(wanted);
}

async function pair(options: Parameters<typeof startRelay>[3] = {}) {
  const [upstream, regional] = [await SetBackRedis.start(cleanups), await SetBackRedis.start(cleanups)];
  const begin = () => startRelay(cleanups, upstream.edgeUrl, regional.relayUrl, options);
  return {
    upstream,
    regional,
    begin,
    same: (...streams: string[]) => untilSame(upstream.admin, regional.admin, ...streams),
  };
}

describe("a stream relay", () => {
  test("copies ids and bytes, in order, of streams that come later too, and keeps the bound", async () => {
    const { upstream, regional, begin, same } = await pair({ entriesMax: 300 });
    const bytes = Buffer.from([0xff, 0x00, 0xfe, 0x0d, 0x0a]);
    await upstream.admin.xadd(GLOBAL_STREAM, "5-5", "owner", bytes, bytes, "");
    await append(upstream, GLOBAL_STREAM, 20);
    // More fields than a script takes.
    await upstream.admin.xadd(GLOBAL_STREAM, "*", ...Array(20_000).fill("x"));
    await append(upstream, GLOBAL_STREAM, 20);
    const { relay } = begin();
    await relay.caughtUp();
    await same(GLOBAL_STREAM);
    expect((await entriesOf(regional.admin, GLOBAL_STREAM))[0]).toEqual({
      id: "5-5",
      fields: [Buffer.from("owner"), bytes, bytes, Buffer.from("")],
    });
    await append(upstream, AMS, 3);
    await same(GLOBAL_STREAM, AMS);
    await append(upstream, AMS, 1_000);
    const newest = await append(upstream, AMS);
    await until(async () => (await entriesOf(regional.admin, AMS)).at(-1)?.id === newest, WAIT_MS);
    const kept = await entriesOf(regional.admin, AMS);
    expect(kept.length).toBeLessThan(500);
    expect(kept).toEqual((await entriesOf(upstream.admin, AMS)).slice(-kept.length));
    expect(relay.status()).toMatchObject({
      connected: true,
      begun_anew: { no_copy: 2, trimmed: 0, diverged: 0 },
    });
  }, 60_000);

  test("copies only the regions that it was told", async () => {
    const { upstream, regional, begin, same } = await pair({ regions: ["ams"] });
    for (const stream of [GLOBAL_STREAM, AMS, regionStream("fra")]) await append(upstream, stream);
    const { relay } = begin();
    await relay.caughtUp();
    await same(GLOBAL_STREAM, AMS);
    expect(await regional.admin.exists(regionStream("fra"))).toBe(0);
  }, 60_000);

  test("fills up what a regional Redis lost: its tail, or all of it", async () => {
    const { upstream, regional, begin, same } = await pair();
    await append(upstream, GLOBAL_STREAM, 10);
    const { relay } = begin();
    await same(GLOBAL_STREAM);
    const copy = await regional.copy();
    await append(upstream, GLOBAL_STREAM, 10);
    await same(GLOBAL_STREAM);
    await regional.setBack(copy);
    await append(upstream, GLOBAL_STREAM, 10);
    await same(GLOBAL_STREAM);
    await begunAnew(relay, { no_copy: 1, diverged: 0, trimmed: 0 });
    await regional.setBack(null);
    await same(GLOBAL_STREAM);
    await begunAnew(relay, { no_copy: 2, diverged: 0, trimmed: 0 });
  }, 60_000);

  test("notices a stream that was emptied or cut under its hands", async () => {
    const { upstream, regional, begin, same } = await pair();
    await append(upstream, GLOBAL_STREAM, 10);
    const { relay } = begin();
    await same(GLOBAL_STREAM);
    await regional.admin.flushall();
    await append(upstream, GLOBAL_STREAM);
    await same(GLOBAL_STREAM);
    await regional.admin.xtrim(GLOBAL_STREAM, "MAXLEN", 0);
    await append(upstream, GLOBAL_STREAM);
    await same(GLOBAL_STREAM);
    await regional.admin.xdel(GLOBAL_STREAM, (await entriesOf(regional.admin, GLOBAL_STREAM)).at(-1)!.id);
    await append(upstream, GLOBAL_STREAM);
    await same(GLOBAL_STREAM);
    await begunAnew(relay, { no_copy: 2, copy_cut: 2 });
  }, 60_000);

  test("keeps what an upstream lost, where nothing else has its place", async () => {
    const { upstream, regional, begin, same } = await pair();
    await append(upstream, GLOBAL_STREAM, 10);
    const copy = await upstream.copy();
    const { relay } = begin();
    await same(GLOBAL_STREAM);
    await append(upstream, GLOBAL_STREAM, 5);
    await same(GLOBAL_STREAM);
    const before = await entriesOf(regional.admin, GLOBAL_STREAM);
    await upstream.setBack(copy);
    await until(() => relay.status().streams[GLOBAL_STREAM]?.anchored === false, WAIT_MS);
    const newest = await append(upstream, GLOBAL_STREAM, 3);
    await until(async () => (await entriesOf(regional.admin, GLOBAL_STREAM)).at(-1)?.id === newest, WAIT_MS);
    const theirs = await entriesOf(upstream.admin, GLOBAL_STREAM);
    expect(await entriesOf(regional.admin, GLOBAL_STREAM)).toEqual([...before, ...theirs.slice(-3)]);
    await begunAnew(relay, { no_copy: 1, diverged: 0, trimmed: 0 });
  }, 60_000);

  test("begins anew where an upstream that lost its tail has other entries in that place", async () => {
    const { upstream, begin, same } = await pair();
    const last = await append(upstream, GLOBAL_STREAM, 10);
    const copy = await upstream.copy();
    const { relay } = begin();
    await append(upstream, GLOBAL_STREAM, 5);
    await same(GLOBAL_STREAM);
    await upstream.setBack(copy);
    // As a digest gets the very next id.
    await upstream.admin.xadd(
      GLOBAL_STREAM,
      last.replace(/\d+$/, (n) => `${Number(n) + 1}`),
      "owner",
      "api",
      "digest",
      "{}",
    );
    await append(upstream, GLOBAL_STREAM, 2);
    await same(GLOBAL_STREAM);
    await begunAnew(relay, { diverged: 1, trimmed: 0 });
  }, 60_000);

  test(
    "leaves the copy as it is while the upstream is empty, and begins anew with what comes then",
    async () => {
      const { upstream, regional, begin, same } = await pair();
      await append(upstream, GLOBAL_STREAM, 10);
      const { relay } = begin();
      await same(GLOBAL_STREAM);
      await upstream.setBack(null);
      await until(() => relay.status().streams[GLOBAL_STREAM]?.anchored === false, WAIT_MS);
      expect((await entriesOf(regional.admin, GLOBAL_STREAM)).length).toBe(10);
      await append(upstream, GLOBAL_STREAM, 2);
      await same(GLOBAL_STREAM);
      await begunAnew(relay, { trimmed: 1 });
    },
    60_000,
  );

  test("begins anew where a trim overtook it, while it was away or held up", async () => {
    const { upstream, regional, begin, same } = await pair();
    await append(upstream, GLOBAL_STREAM, 10);
    const first = begin();
    await same(GLOBAL_STREAM);
    await first.stop();
    await append(upstream, GLOBAL_STREAM, 10);
    await upstream.admin.xtrim(GLOBAL_STREAM, "MAXLEN", 3);
    const { relay } = begin();
    await same(GLOBAL_STREAM);
    await begunAnew(relay, { trimmed: 1 });
    // A regional Redis that hangs: what is read by then is held back, and looked at before it is written.
    await regional.admin.client("PAUSE", 3_000, "ALL");
    await append(upstream, GLOBAL_STREAM, 10);
    await upstream.admin.xtrim(GLOBAL_STREAM, "MAXLEN", 2);
    await same(GLOBAL_STREAM);
    expect((await entriesOf(regional.admin, GLOBAL_STREAM)).length).toBe(2);
  }, 60_000);

  test("waits for whoever is away, and two relays copy no entry twice", async () => {
    const { upstream, regional, begin, same } = await pair();
    const relays = [begin().relay, begin().relay];
    for (let round = 0; round < 3; round++) {
      await append(upstream, GLOBAL_STREAM, 30);
      await append(upstream, AMS, 30);
    }
    await same(GLOBAL_STREAM, AMS);
    await regional.kill();
    await append(upstream, GLOBAL_STREAM, 30);
    await until(() => relays.every((relay) => !relay.status().connected), WAIT_MS);
    expect(relays[0]!.status().last_error).not.toBeNull();
    await regional.begin();
    await same(GLOBAL_STREAM, AMS);
    await upstream.kill();
    await until(() => relays.every((relay) => !relay.status().connected), WAIT_MS);
    await upstream.begin();
    await append(upstream, AMS, 30);
    await same(GLOBAL_STREAM, AMS);
    for (const relay of relays) {
      expect(relay.status().begun_anew).toMatchObject({ diverged: 0, trimmed: 0, copy_cut: 0 });
    }
  }, 60_000);
});
