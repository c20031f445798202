/**
 * A new epoch for this host's rows where its disk was set back to an earlier state, which the stream tells: the numbers to
 * come were given out already. All live rows are published in it, and the digest that follows makes replicas drop what the
 * lost history had more. A host of a version that kept no note of what it published does the same once, in its own epoch.
 */
import { isNewer, type Version } from "../../contract/events.ts";
import type { HostRow } from "../../contract/rows.ts";
import { listMachines, rowOf } from "./machines.ts";
import { enqueue } from "./outbox.ts";
import { beginEpoch, floorEpoch, newestVersion } from "./published.ts";
import type { Store } from "./store.ts";

/**
 * @param shown the highest version that the stream shows of this host
 * @returns whether all rows are published anew
 */
export function takeEpochWhereRewound(store: Store, shown: Version | null): boolean {
  const given = newestVersion(store);
  const rewound = shown !== null && isNewer(shown, given);
  // Without a write: with each start but one there is nothing to do, and a full disk shall not hold up what is.
  if (!rewound && floorEpoch(store) === given.epoch) return false;
  return store.write(() => {
    beginEpoch(store, rewound ? Math.max(store.now(), shown.epoch + 1) : given.epoch);
    for (const machine of listMachines(store)) {
      if (machine.made && machine.state !== "destroyed") {
        enqueue(store, "machines", rowOf(store, machine), false);
      }
    }
    const host = store.fact("host_row");
    if (host !== null) enqueue(store, "hosts", JSON.parse(host) as HostRow, false);
    return true;
  });
}
