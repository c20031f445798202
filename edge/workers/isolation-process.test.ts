/** A replicator that hangs, spins, or is killed again and again: no request fails, and rows are routed again afterwards. */
import { expect, test } from "bun:test";
import { fileURLToPath } from "node:url";
import { forkReplicator } from "./child-process.ts";
import { eventually, withIsolatedEdge } from "./isolation.fixture.ts";
import type { WatchLimits } from "./replicator-watch.ts";

const programOf = (name: string) => fileURLToPath(new URL(name, import.meta.url).href);
/** The real ones are for machines in trouble; here nobody is. */
const SHORT: WatchLimits = {
  ...{ firstBeatMsMax: 3_000, beatMsMax: 3_000, stallMsMax: 3_000, standstillMsMax: 3_000 },
  newsHeldMsMax: 3_000,
};
const MS_MAX = 200_000;

test.concurrent("a replicator that hangs is replaced, and no request waits for it", async () => {
  await withIsolatedEdge({}, async (edge) => {
    await edge.routesNews();
    const hung = await edge.replicator();
    process.kill(hung, "SIGSTOP");
    await edge.routesNews();
    expect(await edge.replicator(hung)).not.toBe(hung);
    expect(await edge.restarts()).toMatchObject({ silent: 1, ended: 0, stalled: 0 });
    expect(await edge.metrics()).toContain('godwit_replica_restarts{reason="silent"} 1');
  });
}, MS_MAX);

test.concurrent("a replicator that is killed again and again is started again and again", async () => {
  await withIsolatedEdge({}, async (edge) => {
    let pid = await edge.replicator();
    for (let times = 1; times <= 3; times++) {
      process.kill(pid, "SIGKILL");
      await edge.routesNews();
      pid = await edge.replicator(pid);
      expect(await edge.restarts()).toMatchObject({ ended: times, silent: 0 });
    }
  });
}, MS_MAX);

// These take a processor, and have short limits: one at a time.
for (
  const [what, program, reason] of [
    ["spins", "./spinning-replicator.fixture.ts", "silent"],
    ["has a heartbeat and does nothing", "./beating-replicator.fixture.ts", "stalled"],
  ] as const
) {
  test(`a replicator that ${what} is replaced, and no request waits for it`, async () => {
    let forks = 0;
    const fork = () => ++forks === 2 ? forkReplicator(programOf(program)) : forkReplicator();
    await withIsolatedEdge({ within: { fork, limits: SHORT } }, async (edge) => {
      await edge.routesNews();
      process.kill(await edge.replicator(), "SIGKILL");
      await eventually(async () => (await edge.restarts())[reason] === 1);
      await edge.routesNews();
      expect(forks).toBe(3);
    });
  }, MS_MAX);
}
