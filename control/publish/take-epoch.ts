/**
 * A new epoch for owner `api`, where the versions that this database would give out were given out before: it was restored
 * from a backup, which the stream tells; or somebody raised `publish_epoch` by hand. All its rows move to that epoch and
 * are published again; the digest after them says so (`floor_epoch`), and replicas drop what the lost history had more.
 */
import { isNewer, type Version } from "../contract/events.ts";
import type { Sql } from "../store/database.ts";
import { holdEpoch, holdPublishing, newestVersion } from "../store/outbox.ts";
import {
  beginRepublication,
  lockPublishState,
  pageOfPublished,
  publishState,
  raiseEpoch,
  setFloor,
} from "../store/published.ts";
import { applyChanges, type TableSums } from "./published-sums.ts";

const PAGE_ROWS = 5_000;

/**
 * @param shown the highest version that the stream shows of this owner
 * @returns the new epoch, null where none was needed
 */
export async function takeEpochWhereRewound(
  tx: Sql,
  shown: Version | null,
  nowMs: number,
): Promise<number | null> {
  const seen = await newestVersion(tx);
  // A look without locks first: with each start but one in a database's life there is nothing to do.
  if (!isRewound(shown, seen) && (await publishState(tx)).floorEpoch === seen.epoch) return null;
  // Each row is written, however many there are.
  await tx`SET LOCAL statement_timeout = 0`;
  await holdEpoch(tx);
  await holdPublishing(tx);
  const given = await newestVersion(tx);
  const rewound = isRewound(shown, given);
  if (!rewound && (await lockPublishState(tx)).floorEpoch === given.epoch) return null;
  const epoch = rewound ? Math.max(Math.floor(nowMs / 1_000), shown!.epoch + 1) : given.epoch;
  await raiseEpoch(tx, epoch);
  await setFloor(tx, epoch, await sumsOfPublished(tx));
  await beginRepublication(tx, (await publishState(tx)).republishNumber);
  return epoch;
}

function isRewound(shown: Version | null, given: Version): boolean {
  return shown !== null && isNewer(shown, given);
}

async function sumsOfPublished(tx: Sql): Promise<TableSums> {
  let sums: TableSums = {};
  for (let after = { table: "", key: "" };;) {
    const rows = await pageOfPublished(tx, after, PAGE_ROWS);
    const last = rows.at(-1);
    if (last === undefined) return sums;
    after = { table: last.table, key: last.key };
    const changes = rows.map((row) => ({ ...row, deleted: row.content === null }));
    sums = applyChanges(sums, [], changes).sums;
  }
}
