/**
 * Those who serve snapshots, asked over HTTP. All are asked at once, since any of them may be away; what they say is
 * bounded and looked at before it is believed. A replica's own snapshots are no source for it: what is wrong in the replica
 * is wrong in them.
 */
import { mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Logger } from "pino";
import { GodwitError, messageOf } from "../../control/contract/errors.ts";
import { SnapshotList, type SnapshotManifest } from "../../control/contract/snapshots.ts";
import { nodeFiles } from "../replica/file-system.ts";
import { isFull } from "../replica/full-disk.ts";
import type { SnapshotOffer, SnapshotSources } from "../replica/ports.ts";
import {
  DOWNLOAD_LIMITS,
  type DownloadLimits,
  downloadSnapshot,
  snapshotUrl,
  unreachable,
} from "./download.ts";
import { readSnapshotToken } from "./token.ts";
import { noRoom, unpackSnapshot } from "./unpack.ts";

/** A source that has not listed its snapshots by then has none. */
export const LIST_MS_MAX = 3_000;
export const LIST_BYTES_MAX = 1_048_576;
/** Downloads that were broken off and may be resumed; older ones are removed. */
export const PARTS_KEPT = 2;

export interface SnapshotSourcesOptions {
  /** Base URLs. */
  readonly from: readonly string[];
  readonly tokenFile: string | null;
  /** Where downloads stand until they are whole; made where missing. */
  readonly folder: string;
  /** Snapshots of other schemas are passed over. */
  readonly replicaSchema: number;
  readonly log: Logger;
  readonly pause: (ms: number) => Promise<void>;
  /** In [0, 1). */
  readonly random: () => number;
  readonly limits?: Partial<DownloadLimits>;
  /** @default LIST_MS_MAX */
  readonly listMsMax?: number;
  /** @default what the file system says */
  readonly freeBytes?: () => number;
}

export class HttpSnapshotSources implements SnapshotSources {
  readonly #options: SnapshotSourcesOptions;
  readonly #from: readonly string[];
  readonly #limits: DownloadLimits;
  /** Who had which, when they were asked last. */
  readonly #holders = new Map<string, string[]>();

  constructor(options: SnapshotSourcesOptions) {
    this.#options = options;
    this.#from = [...new Set(options.from.map(withoutCredentials))];
    this.#limits = { ...DOWNLOAD_LIMITS, ...options.limits };
  }

  async list(): Promise<SnapshotOffer[]> {
    const { log, replicaSchema, random, listMsMax = LIST_MS_MAX } = this.#options;
    const token = this.#token();
    const offers: SnapshotOffer[] = [];
    // In a new order each time, so that not all edges of a fleet begin with the same source.
    const shuffled = this.#from.map((source) => ({ source, drawn: random() }))
      .sort((one, two) => one.drawn - two.drawn);
    const answers = await Promise.all(shuffled.map(async ({ source }) => {
      try {
        return { source, snapshots: await listOf(source, token, listMsMax) };
      } catch (error) {
        log.warn({ source, err: messageOf(error) }, "a source of snapshots cannot be used");
        return { source, snapshots: [] };
      }
    }));
    this.#holders.clear();
    for (const { source, snapshots } of answers) {
      for (const manifest of snapshots) {
        if (manifest.replica_schema !== replicaSchema) continue;
        const holders = this.#holders.get(nameOf(manifest));
        if (holders === undefined) {
          this.#holders.set(nameOf(manifest), [source]);
          offers.push({ source, manifest });
        } else if (!holders.includes(source)) holders.push(source);
      }
    }
    return newestFirst(offers);
  }

  async fetch({ source, manifest }: SnapshotOffer, path: string): Promise<void> {
    const { folder, log, pause, random } = this.#options;
    const token = this.#token();
    const part = join(folder, `part-${manifest.id}.zst`);
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    this.#removeOtherParts(part);
    this.#checkRoom(part, manifest, path);
    const holders = [
      source,
      ...(this.#holders.get(nameOf(manifest)) ?? []).filter((other) => other !== source),
    ];
    // All together first, since any of them may be away. If that makes something else than the manifest says, nobody knows
    // whose bytes were wrong, or whether an earlier process left them: then each from the beginning, and alone.
    const rounds = holders.length > 1 ? [holders, ...holders.map((holder) => [holder])] : [holders];
    if (holders.length === 1 && statSync(part, { throwIfNoEntry: false }) !== undefined) rounds.push(holders);
    let failure: unknown;
    for (const from of rounds) {
      try {
        await downloadSnapshot({
          ...{ from, manifest, file: part, token, limits: this.#limits, pause, random },
          onTryFailed: (source, { code, message }) =>
            log.warn({ source, code, err: message }, "download broken off"),
        });
        await unpackSnapshot(part, manifest, path);
        return rmSync(part, { force: true });
      } catch (error) {
        failure = isFull(error) && !(error instanceof GodwitError)
          ? noRoom(part, messageOf(error), error)
          : error;
        const isDamaged = error instanceof GodwitError && error.code === "replica.snapshot_damaged";
        if (isDamaged) {
          log.warn({ sources: from, err: error.message }, "a snapshot is not what its manifest says");
        }
        // What has come so far may be resumed, except where it is of no use to others.
        if (isDamaged || from !== holders) rmSync(part, { force: true });
        if (!isDamaged && from === holders) break;
      }
    }
    throw failure;
  }

  #token(): string | null {
    const { tokenFile, log } = this.#options;
    if (tokenFile === null) return null;
    try {
      return readSnapshotToken(tokenFile);
    } catch (error) {
      // Sources on loopback ask for none.
      log.warn({ err: messageOf(error) }, "asking for snapshots without a token");
      return null;
    }
  }

  #checkRoom(part: string, manifest: SnapshotManifest, path: string): void {
    const there = statSync(part, { throwIfNoEntry: false })?.size ?? 0;
    const needed = Math.max(0, manifest.bytes - there) + manifest.file_bytes;
    const free = this.#options.freeBytes?.() ?? nodeFiles.freeBytes(dirname(path));
    if (free < needed) throw noRoom(path, `${free} bytes are free, it takes ${needed}`);
  }

  #removeOtherParts(part: string): void {
    const { folder } = this.#options;
    const parts = readdirSync(folder).filter((name) => name.startsWith("part-"))
      .map((name) => join(folder, name)).filter((path) => path !== part)
      .map((path) => ({ path, atMs: statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0 }))
      .sort((one, two) => two.atMs - one.atMs);
    for (const { path } of parts.slice(PARTS_KEPT - 1)) rmSync(path, { force: true });
  }
}

/** By all that is checked, so that nobody can put another content under the id of a good one. */
function nameOf({ id, sha256, bytes, file_bytes }: SnapshotManifest): string {
  return `${id} ${sha256} ${bytes} ${file_bytes}`;
}

/** Those that hold more of the streams come first, then those that were made later. */
export function newestFirst(offers: readonly SnapshotOffer[]): SnapshotOffer[] {
  return [...offers].sort(({ manifest: one }, { manifest: two }) =>
    reach(two) - reach(one) || two.created_ms - one.created_ms || (one.id < two.id ? -1 : 1)
  );
}

/**
 * The times in the positions, added up: a stream that is missing counts as one that was never read, and so weighs more than
 * any difference between those that are there.
 */
function reach({ positions }: SnapshotManifest): number {
  return Object.values(positions).reduce(
    (sum, position) => sum + Math.min(POSITION_MS_MAX, Number.parseInt(position, 10)),
    0,
  );
}
const POSITION_MS_MAX = 1e13;

async function listOf(source: string, token: string | null, msMax: number): Promise<SnapshotManifest[]> {
  const signal = AbortSignal.timeout(msMax);
  const headers: Record<string, string> = { "accept-encoding": "identity" };
  if (token !== null) headers.authorization = `Bearer ${token}`;
  const response = await fetch(snapshotUrl(source), { headers, redirect: "manual", signal });
  try {
    if (response.status !== 200) throw unreachable(source, `status ${response.status}`);
    return SnapshotList.parse(JSON.parse(await boundedText(response, source))).snapshots;
  } finally {
    response.body?.cancel().catch(() => {});
  }
}

async function boundedText(response: Response, source: string): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > LIST_BYTES_MAX) throw unreachable(source, `its list has more than ${LIST_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** They would be shown to people, and `fetch` takes none. */
function withoutCredentials(base: string): string {
  const url = new URL(base);
  url.username =
    url.password =
    url.search =
    url.hash =
      "";
  return url.href;
}
