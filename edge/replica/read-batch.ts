/** What a read from one stream says: signatures looked at, events judged, digests parsed, in the order of the stream. */
import { StateDigest } from "../../control/contract/events.ts";
import { readEntry, type StreamEntry } from "../../control/contract/stream-entry.ts";
import { mayDigest } from "./compare-digest.ts";
import { judgeBatch, type QuarantineReason } from "./judge-event.ts";
import type { StreamEntries } from "./ports.ts";
import type { ReplicaCounts } from "./replica-counts.ts";
import type { QuarantinedEvent, Step, StreamBatch } from "./replica-store.ts";
import { compareIds } from "./stream-gap.ts";
import type { EntryVerifier } from "./verify-entry.ts";

export interface ReadOptions extends StreamEntries {
  /** `global`, or a region's code. */
  readonly scope: string;
  readonly verifier: EntryVerifier;
  /** The position before the first entry. */
  readonly before: string;
  /** How far the stream was ever read. */
  readonly furthest: string;
  readonly counts: ReplicaCounts;
}

export interface ReadBatch extends StreamBatch {
  /** When the newest of it was published; null where nothing says so. */
  readonly publishedMs: number | null;
  /** Owner → when the newest of what it says here was published. */
  readonly words: ReadonlyMap<string, number>;
}

/** @param options with at least one entry */
export function readBatch(options: ReadOptions): ReadBatch {
  const { stream, entries, verifier } = options;
  const reading = new Reading(options);
  let before = options.before;
  for (const { id, fields } of entries) {
    reading.entryId = id;
    const entry = readEntry(fields);
    if (entry === null) reading.refuse("not_json", "an entry is a batch or a digest of an owner", "", "");
    else {
      const fault = verifier.faultOf(stream, entry);
      if (fault !== null) {
        if (fault !== "unsigned") reading.unbelieved(entry.owner, before);
        reading.refuse(fault, `${entry.kind} of ${entry.owner}`, entry.payload, entry.owner);
      } else if (entry.kind === "digest") reading.digest(entry);
      else reading.batch(entry);
    }
    before = id;
  }
  return reading.result(before);
}

class Reading {
  entryId = "";
  readonly #options: ReadOptions;
  readonly #steps: Step[] = [];
  readonly #refused: QuarantinedEvent[] = [];
  readonly #unbelieved = new Map<string, string>();
  #publishedMs: number | null = null;
  readonly #words = new Map<string, number>();

  constructor(options: ReadOptions) {
    this.#options = options;
  }

  batch({ payload, owner }: StreamEntry): void {
    const { scope, counts } = this.#options;
    let newestMs = -Infinity;
    for (const { json, judgement } of judgeBatch(payload, scope, owner)) {
      if (judgement.verdict === "apply") {
        this.#steps.push({ valid: judgement.valid });
        const publishedMs = this.#publishedMs = judgement.valid.event.published_ms;
        if (publishedMs > newestMs) newestMs = publishedMs;
        counts.unknownColumns += judgement.unknownColumns;
      } else if (judgement.verdict === "skip") counts.unknownTable(judgement.table);
      else this.refuse(judgement.reason, judgement.detail, json, owner);
    }
    this.#word(owner, newestMs);
  }

  digest({ payload, owner }: StreamEntry): void {
    // It says what was at its place, and we know of more already.
    if (this.#again) return;
    let json: unknown;
    try {
      json = JSON.parse(payload);
    } catch (error) {
      return this.refuse("not_json", String(error), payload, owner);
    }
    const digest = StateDigest.safeParse(json);
    if (!digest.success) {
      return this.refuse("invalid_digest", digest.error.issues[0]?.message ?? "", payload, owner);
    }
    if (digest.data.owner !== owner) {
      return this.refuse("wrong_owner", `${owner} speaks for ${digest.data.owner}`, payload, owner);
    }
    if (!mayDigest(owner, this.#options.scope)) {
      return this.refuse("wrong_stream", `digest of ${owner} on ${this.#options.scope}`, payload, owner);
    }
    this.#steps.push({ digest: digest.data, entryId: this.entryId });
    this.#publishedMs = digest.data.published_ms;
    this.#word(owner, digest.data.published_ms);
  }

  #word(owner: string, publishedMs: number): void {
    if (publishedMs > (this.#words.get(owner) ?? -Infinity)) this.#words.set(owner, publishedMs);
  }

  refuse(reason: QuarantineReason, detail: string, event: string, owner: string): void {
    if (this.#again) return;
    this.#options.counts.quarantined(reason, owner);
    this.#refused.push({ stream: this.#options.stream, entryId: this.entryId, reason, detail, event });
  }

  unbelieved(owner: string, before: string): void {
    if (owner.startsWith("worker:") && !this.#unbelieved.has(owner)) this.#unbelieved.set(owner, before);
  }

  result(position: string): ReadBatch {
    const { stream, furthest } = this.#options;
    return {
      ...{ stream, position, steps: this.#steps, refused: this.#refused, publishedMs: this.#publishedMs },
      words: this.#words,
      furthest: compareIds(position, furthest) > 0 ? position : furthest,
      unbelieved: [...this.#unbelieved].map(([owner, before]) => ({ owner, before })),
    };
  }

  /** Whether this entry was read before. */
  get #again(): boolean {
    return compareIds(this.entryId, this.#options.furthest) <= 0;
  }
}
