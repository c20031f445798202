/** A replica that hangs off the regional Redis: whatever befalls the relay, it ends with its owners' rows. */
import { afterEach, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { GLOBAL_STREAM } from "../../control/contract/events.ts";
import { until } from "../edge.fixture.ts";
import { Cleanups, TestPublisher } from "../replica/replica.fixture.ts";
import type { Replica } from "../replica/replica.ts";
import { SetBackRedis, startRelay, untilSame, WAIT_MS } from "./relay.fixture.ts";

const cleanups = new Cleanups();
afterEach(() => cleanups.run(), 60_000);

const names = (replica: Replica) => replica.stored().map(({ key }) => key).sort();

/** Three host names and a host, on an edge of the region. */
async function settled() {
  const [upstream, regional] = [await SetBackRedis.start(cleanups), await SetBackRedis.start(cleanups)];
  const api = new TestPublisher(upstream.admin, "api");
  const worker = new TestPublisher(upstream.admin, "worker:h1");
  for (const name of ["a", "b", "c"]) await api.hostname(`${name}.test`);
  await worker.host();
  await api.digest();
  await worker.digest();
  const begin = () => startRelay(cleanups, upstream.edgeUrl, regional.relayUrl);
  const first = begin();
  const { replica } = cleanups.follow({
    ...{ file: join(cleanups.folder(), "r.sqlite"), url: regional.edgeUrl, apiPublicKey: api.key.publicKey },
  });
  const { owner, key } = worker;
  await api.publish("publishers", owner, { owner, public_key: key.publicKey });
  await api.digest();
  await until(() => {
    const { digests } = replica.status();
    return digests.owners === 2 && digests.differing === 0;
  }, WAIT_MS);
  return { upstream, regional, api, worker, replica, first, begin };
}

/** All that is there by now, and nobody's digest says otherwise. */
async function converged(replica: Replica, keys: readonly string[]): Promise<void> {
  await until(() => {
    const { healing, digests, connected } = replica.status();
    return connected && healing === null && digests.owners === 2 && digests.differing === 0 &&
      Bun.deepEquals(names(replica), [...keys].sort());
  }, WAIT_MS);
}
const ALL = ["a.test", "b.test", "c.test", "h1", "worker:h1"];

describe("a replica behind a stream relay", () => {
  test("has the source's rows, signatures and digests included", async () => {
    const { api, replica } = await settled();
    await converged(replica, ALL);
    await api.hostname("d.test");
    await api.hostname("a.test", true);
    await api.digest();
    await converged(replica, ["b.test", "c.test", "d.test", "h1", "worker:h1"]);
    expect(replica.status()).toMatchObject({ incidents_count: 0, events_quarantined: {} });
  }, 60_000);

  test("notices what was trimmed while the relay was away, a deletion among it, and heals", async () => {
    const { upstream, regional, api, worker, replica, first, begin } = await settled();
    await first.stop();
    await api.hostname("b.test", true);
    await api.hostname("d.test");
    await upstream.admin.xtrim(GLOBAL_STREAM, "MAXLEN", 1);
    begin();
    // The owner sees that its stream was trimmed past its last full publication; nothing says any more that one is gone.
    api.forgetTombstones();
    await api.publishAgain();
    await worker.digest();
    await untilSame(upstream.admin, regional.admin, GLOBAL_STREAM);
    await until(() => replica.status().bootstraps > 0, WAIT_MS);
    await converged(replica, ["a.test", "c.test", "d.test", "h1", "worker:h1"]);
    // It may have read on before it looked for a gap; then the next digest tells.
    expect(["gap", "digest"]).toContain(replica.status().incidents.at(-1)!.kind);
    expect(replica.status().incidents.every(({ healed_ms }) => healed_ms !== null)).toBe(true);
  }, 60_000);

  test("goes on when the regional Redis lost all, and when it lost its tail", async () => {
    const { regional, upstream, api, worker, replica } = await settled();
    const copy = await regional.copy();
    await api.hostname("d.test");
    await api.digest();
    await untilSame(upstream.admin, regional.admin, GLOBAL_STREAM);
    await converged(replica, [...ALL, "d.test"]);
    for (const [name, what] of [["e.test", copy], ["f.test", null]] as const) {
      await regional.setBack(what);
      await api.hostname(name);
      await api.digest();
      await worker.digest();
    }
    await converged(replica, [...ALL, "d.test", "e.test", "f.test"]);
  }, 60_000);

  test("heals after the upstream was emptied and filled again", async () => {
    const { upstream, api, worker, replica } = await settled();
    await upstream.setBack(null);
    await api.hostname("c.test", true);
    await api.publishAgain();
    await worker.publishAgain();
    await converged(replica, ["a.test", "b.test", "h1", "worker:h1"]);
  }, 60_000);
});
