/**
 * A host's outbox in a process of its own, to be killed and paused: the worker's real store, changed all the time as an agent
 * changes it, and what publishes it. Its settings come on stdin: they hold passwords.
 */
import { existsSync, writeFileSync } from "node:fs";
import { signingKey } from "../../../control/contract/signing.ts";
import { type MachineEvent, transition } from "../../../control/machine/transition.ts";
import { Metrics } from "../../../control/worker/metrics.ts";
import { Outbox } from "../../../control/worker/outbox.ts";
import { connectRedis } from "../../../control/worker/redis.ts";
import {
  getMachine,
  insertMachine,
  moveMachine,
  patchMachine,
  pruneDestroyed,
} from "../../../control/worker/store/machines.ts";
import { outboxDepth } from "../../../control/worker/store/outbox.ts";
import { aMachineSpec } from "../../../control/worker/store/store.fixture.ts";
import { Store } from "../../../control/worker/store/store.ts";
import { seededRandom } from "../../bench/seeded-random.ts";

export interface WorkerSettings {
  readonly file: string;
  readonly hostId: string;
  readonly region: string;
  readonly redisUrl: string;
  readonly keyPem: string;
  readonly seed: number;
  /** It changes its machines until this is there. */
  readonly endFile: string;
  /** Made once nothing waits after that. */
  readonly drainedFile: string;
}

const MACHINES_MAX = 40;
const CHANGE_INTERVAL_MS = 20;
const LOOK_INTERVAL_MS = 50;
const DESTROYED_KEPT_MS = 5_000;
const EVENTS: readonly MachineEvent[] = [
  ...["start", "booted", "boot_failed", "stop", "stopped", "destroy", "destroyed"] as const,
];

const settings = await Bun.stdin.json() as WorkerSettings;
const { file, hostId, region, redisUrl, keyPem, seed, endFile, drainedFile } = settings;
const store = new Store({ file, host_id: hostId, region, vmm: "runc", now: Date.now });
const outbox = new Outbox({
  redis: connectRedis(redisUrl, (error) => console.log(hostId, String(error))),
  ...{ store, key: signingKey(keyPem), metrics: new Metrics(), random: Math.random },
  onFailure: (error) => console.log(hostId, "cannot publish:", String(error)),
  onRepublish: (reason) => console.log(hostId, "publishes all again:", reason),
});
outbox.start();
console.log(hostId, "publishing");

const random = seededRandom(seed);
const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)]!;
while (!existsSync(endFile)) {
  store.write(change);
  pruneDestroyed(store, Date.now() - DESTROYED_KEPT_MS);
  await Bun.sleep(CHANGE_INTERVAL_MS);
}
while (outboxDepth(store) > 0) await Bun.sleep(LOOK_INTERVAL_MS);
writeFileSync(drainedFile, "");

function change(): void {
  const ids = store.db.query<{ id: string }, []>(
    "SELECT id FROM machines WHERE state <> 'destroyed' ORDER BY id",
  )
    .all().map(({ id }) => id);
  if (ids.length === 0 || (ids.length < MACHINES_MAX && random() < 0.2)) {
    const spec = aMachineSpec({ region });
    insertMachine(store, spec);
    return patchMachine(store, spec.id, { made: true });
  }
  const id = pick(ids), event = pick(EVENTS), { state, cordoned } = getMachine(store, id);
  if (transition(state, event).kind === "move") moveMachine(store, id, event);
  else patchMachine(store, id, { cordoned: !cordoned });
}
