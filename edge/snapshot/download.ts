/**
 * Brings a snapshot's bytes into a file, from wherever they were broken off, by an earlier process too: the file's length is
 * where to go on (RFC 9110 section 14, If-Range). Several sources may have the same one; a try that fails goes on at the next.
 * What has come is looked at when it is whole (unpack.ts), so a source can cost time and no more.
 */
import { type FileHandle, open as openFile } from "node:fs/promises";
import { GodwitError, messageOf } from "../../control/contract/errors.ts";
import type { SnapshotManifest } from "../../control/contract/snapshots.ts";
import { isFull } from "../replica/full-disk.ts";

export interface DownloadLimits {
  /** Until a source has answered. */
  readonly answerMsMax: number;
  /** Less than this pace in a window, nothing at all too, ends a try. */
  readonly windowMs: number;
  readonly bytesPerSMin: number;
  /** In a row, with less than `progressBytes` between them. */
  readonly triesMax: number;
  readonly progressBytes: number;
  /** Answers that say to come again later. */
  readonly busyMax: number;
  /** Between tries; doubles up to the latter. */
  readonly waitMsMin: number;
  readonly waitMsMax: number;
}
export const DOWNLOAD_LIMITS: DownloadLimits = {
  answerMsMax: 10_000,
  windowMs: 10_000,
  bytesPerSMin: 16_384,
  triesMax: 6,
  progressBytes: 1_048_576,
  busyMax: 30,
  waitMsMin: 100,
  waitMsMax: 5_000,
};

export interface Download {
  /** Base URLs of those that have it. */
  readonly from: readonly string[];
  readonly manifest: SnapshotManifest;
  readonly file: string;
  readonly token: string | null;
  readonly limits: DownloadLimits;
  readonly pause: (ms: number) => Promise<void>;
  readonly random: () => number;
  readonly onTryFailed: (source: string, error: GodwitError) => void;
}

/** A source that is not to be asked again: it says that it has no such thing, or something that cannot be. */
class Refusal extends GodwitError {}
/** Come again later. */
class Busy extends GodwitError {}

/** @throws GodwitError `replica.snapshot_unreachable`, `replica.snapshot_refused`, `replica.snapshot_too_slow` */
export async function downloadSnapshot(download: Download): Promise<void> {
  const { limits, manifest, pause, random } = download;
  // Append would write at the end whatever place is named, so "r+" of a file that was made if need be.
  await (await openFile(download.file, "a", 0o600)).close();
  const file = await openFile(download.file, "r+");
  let sources = [...download.from];
  let failures = 0, busy = 0, turn = 0;
  try {
    for (;;) {
      const at = await startingPoint(file, manifest);
      if (at === manifest.bytes) return;
      const source = sources[turn % sources.length]!;
      try {
        await readFrom(source, at, file, download);
      } catch (error) {
        if (isFull(error)) throw error;
        const failure = error instanceof GodwitError ? error : unreachable(source, messageOf(error), error);
        download.onTryFailed(source, failure);
        const got = (await file.stat()).size - at;
        if (failure instanceof Refusal) sources = sources.filter((each) => each !== source);
        else turn++;
        if (failure instanceof Busy) busy++;
        else failures = got >= limits.progressBytes ? 1 : failures + 1;
        if (sources.length === 0 || failures >= limits.triesMax || busy >= limits.busyMax) throw failure;
        const waitMs = failure instanceof Busy
          ? limits.waitMsMax
          : Math.min(limits.waitMsMax, limits.waitMsMin * 2 ** failures);
        await pause(waitMs / 2 + random() * waitMs / 2);
      }
    }
  } finally {
    await file.close();
  }
}

/** A file that is longer than it may be is none of this snapshot. */
async function startingPoint(file: FileHandle, { bytes }: SnapshotManifest): Promise<number> {
  const { size } = await file.stat();
  if (size <= bytes) return size;
  await file.truncate(0);
  return 0;
}

async function readFrom(source: string, from: number, file: FileHandle, download: Download): Promise<void> {
  const { manifest, token, limits } = download;
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(slow(source, "it did not answer in time")), limits.answerMsMax);
  const given = new Promise<never>((_, reject) =>
    abort.signal.addEventListener("abort", () => reject(abort.signal.reason), { once: true })
  );
  given.catch(() => {});
  try {
    const asked = fetch(snapshotUrl(source, manifest.id), {
      headers: {
        "accept-encoding": "identity",
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
        ...(from === 0 ? {} : { range: `bytes=${from}-`, "if-range": `"${manifest.id}"` }),
      },
      redirect: "manual",
      signal: abort.signal,
    });
    asked.catch(() => {});
    const response = await Promise.race([asked, given]);
    const at = await placeOf(response, source, from, manifest);
    if (at === 0) await file.truncate(0);
    clearTimeout(timer);
    await receive(response, source, at, file, download, abort, given);
  } finally {
    clearTimeout(timer);
    // Whatever else it would send is not waited for.
    abort.abort(slow(source, "it is over"));
  }
}

/** Where in the file an answer's body belongs. */
async function placeOf(
  response: Response,
  source: string,
  from: number,
  manifest: SnapshotManifest,
): Promise<number> {
  const { status, headers } = response;
  if (status === 503 || status === 429) throw new Busy(...refused(source, "it is busy"));
  if (status !== 200 && status !== 206) throw new Refusal(...refused(source, `status ${status}`));
  const encoding = headers.get("content-encoding") ?? "identity";
  if (encoding !== "identity") throw new Refusal(...refused(source, `content-encoding ${encoding}`));
  if (response.body === null) throw new Refusal(...refused(source, "it sends nothing"));
  if (status === 200) return 0;
  const expected = `bytes ${from}-${manifest.bytes - 1}/${manifest.bytes}`;
  const range = headers.get("content-range");
  if (from === 0 || range !== expected) throw new Refusal(...refused(source, `content-range ${range}`));
  return from;
}

async function receive(
  response: Response,
  source: string,
  from: number,
  file: FileHandle,
  { manifest, limits }: Download,
  abort: AbortController,
  given: Promise<never>,
): Promise<void> {
  let at = from, windowFrom = from;
  const watch = setInterval(() => {
    const bytesPerS = (at - windowFrom) * 1_000 / limits.windowMs;
    if (bytesPerS < limits.bytesPerSMin) abort.abort(slow(source, `${Math.round(bytesPerS)} bytes a second`));
    windowFrom = at;
  }, limits.windowMs);
  const reader = response.body!.getReader();
  try {
    for (;;) {
      const { done, value } = await Promise.race([reader.read(), given]);
      if (done) break;
      if (at + value.length > manifest.bytes) {
        throw new Refusal(...refused(source, `it sends more than ${manifest.bytes} bytes`));
      }
      for (let written = 0; written < value.length;) {
        const rest = value.length - written;
        written += (await file.write(value, written, rest, at + written)).bytesWritten;
      }
      at += value.length;
    }
  } finally {
    clearInterval(watch);
    reader.cancel().catch(() => {});
  }
  if (at < manifest.bytes) throw unreachable(source, `it ended after ${at} of ${manifest.bytes} bytes`);
}

/** @param base with or without a slash at its end */
export function snapshotUrl(base: string, id?: string): string {
  const path = id === undefined ? "replica/snapshots" : `replica/snapshots/${id}`;
  return new URL(path, base.endsWith("/") ? base : `${base}/`).href;
}

export function unreachable(source: string, reason: string, cause?: unknown): GodwitError {
  return new GodwitError(
    "replica.snapshot_unreachable",
    `Cannot fetch a snapshot from ${source}: ${reason}`,
    {
      fault: "us",
      retryable: true,
      hint: "see whether that edge runs and can be reached from here",
      cause,
    },
  );
}

function slow(source: string, reason: string): GodwitError {
  return new GodwitError("replica.snapshot_too_slow", `Cannot fetch a snapshot from ${source}: ${reason}`, {
    fault: "us",
    retryable: true,
    hint: "name a source that is nearer in snapshots_from",
  });
}

function refused(source: string, reason: string): ConstructorParameters<typeof GodwitError> {
  return ["replica.snapshot_refused", `Cannot fetch a snapshot from ${source}: ${reason}`, {
    fault: "us",
    retryable: true,
    hint: "401 means that snapshot_token_file differs there; redirects are not followed",
  }];
}
