/** A replica in the real world, put together from its settings. */
import type { Logger } from "pino";
import { pause } from "../replica/pause.ts";
import type { StateStreams } from "../replica/ports.ts";
import { redisStreams } from "../replica/redis-streams.ts";
import { Replica, type ReplicaOptions } from "../replica/replica.ts";
import { FolderFiles } from "../replica/replica-files.ts";
import { REPLICA_SCHEMA } from "../replica/replica-schema.ts";
import { QueryService, type QueryServiceOptions } from "../query/query-service.ts";
import { snapshotFolderOf } from "../snapshot/folder.ts";
import { SnapshotService } from "../snapshot/service.ts";
import { HttpSnapshotSources } from "../snapshot/sources.ts";
import { type ReplicaTuning, SILENT_AFTER_MS_MIN } from "../replica/tuning.ts";
import type { RowSourceStatus } from "../rows/row-source.ts";
import type { OpenDatabase } from "../runtime/sqlite-port.ts";
import { forkQueryServer, forkSnapshotBuilder } from "./child-process.ts";
import type { ReplicatorSettings } from "./messages.ts";

/** @param around may see all that is asked of Redis */
export function openReplica(
  { rows, regions }: Pick<ReplicatorSettings, "rows" | "regions">,
  openDatabase: OpenDatabase,
  log: Logger,
  heard: Pick<ReplicaOptions, "onChanges" | "onTakeOver">,
  around: (streams: StateStreams) => StateStreams = (streams) => streams,
): Replica {
  return new Replica({
    world: {
      streams: around(redisStreams(rows.redis_url, rows.redis_ca_file)),
      files: new FolderFiles(rows.replica_file, openDatabase),
      snapshots: new HttpSnapshotSources({
        from: rows.snapshots_from ?? [],
        tokenFile: rows.snapshot_token_file ?? null,
        folder: snapshotFolderOf(rows.replica_file),
        replicaSchema: REPLICA_SCHEMA,
        log,
        pause,
        random: Math.random,
      }),
      nowMs: () => performance.now(),
      wallMs: () => Date.now(),
      random: Math.random,
      pause,
    },
    regions,
    apiPublicKey: rows.api_public_key ?? null,
    log,
    tuning: tuningOf(rows),
    ...heard,
  });
}

function tuningOf(rows: ReplicatorSettings["rows"]): Partial<ReplicaTuning> {
  const { stale_after_s, tombstones_kept_s, history } = rows;
  return {
    ...(stale_after_s === undefined ? {} : {
      staleAfterMs: stale_after_s * 1_000,
      silentAfterMs: Math.max(stale_after_s * 1_000, SILENT_AFTER_MS_MIN),
    }),
    ...(tombstones_kept_s === undefined ? {} : { tombstonesKeptMs: tombstones_kept_s * 1_000 }),
    ...(history === undefined
      ? {}
      : { history: { rowsMax: history.rows_max, keptMs: history.kept_s * 1_000 } }),
  };
}

/** @returns null where the settings have no listener for them */
export function openSnapshots(rows: ReplicatorSettings["rows"], log: Logger): SnapshotService | null {
  return SnapshotService.of({
    ...{ rows, fork: forkSnapshotBuilder, log, random: Math.random, pause },
    ...{ nowMs: () => performance.now(), wallMs: () => Date.now() },
  });
}

/** @returns null where the settings have no place for them */
export function openQueries(
  rows: ReplicatorSettings["rows"],
  log: Logger,
  more: Pick<QueryServiceOptions, "page" | "onListening">,
): QueryService | null {
  return QueryService.of({ rows, fork: forkQueryServer, log, ...more });
}

/** What `/replica` says. */
export function pageOf({ details, ...rest }: RowSourceStatus): Record<string, unknown> {
  return { ...rest, ...details };
}

export function statusOf(
  replica: Replica,
  snapshots: SnapshotService | null,
  queries: QueryService | null,
): RowSourceStatus {
  const status = replica.status();
  const quarantined = Object.values(status.events_quarantined).reduce((sum, count) => sum + count, 0);
  const { connected, stale_ms, stale, gaps, incidents_count, bootstraps, last_lag_ms, digests } = status;
  const { behind_ms, silent_ms } = status;
  return {
    from: "redis",
    ...{
      connected,
      stale_ms,
      stale,
      quarantined,
      gaps,
      details: { ...status, snapshots: snapshots?.status() ?? null, queries: queries?.status() ?? null },
    },
    replica: {
      ...{ incidents: incidents_count, bootstraps, behind_ms, silent_ms, lag_ms: last_lag_ms },
      digests_differing: digests.differing,
      stale_after_ms: status.stale_after_ms,
    },
  };
}
