/** One generation of a replica's file, and who keeps it up to date. */
import type { Logger } from "pino";
import type { PublisherKey } from "../../control/contract/signing.ts";
import type { RowChange } from "../routes/route-table.ts";
import { Follower, type FollowerTrouble } from "./follower.ts";
import type { OwnerVoices } from "./owner-voices.ts";
import type { ReplicaWorld } from "./ports.ts";
import { ReplicaCounts } from "./replica-counts.ts";
import type { ReplicaStore } from "./replica-store.ts";

export interface GenerationOptions {
  readonly store: ReplicaStore;
  readonly world: ReplicaWorld;
  /** Empty: every region that has a stream. */
  readonly regions: readonly string[];
  readonly apiPublicKey: PublisherKey | null;
  readonly log: Logger;
  readonly voices: OwnerVoices;
  readonly onChanges: (changes: RowChange[], of: Generation) => void;
  readonly onTrouble: (trouble: FollowerTrouble, of: Generation) => void;
}

export class Generation {
  readonly store: ReplicaStore;
  readonly follower: Follower;
  readonly counts = new ReplicaCounts();
  readonly #ending = new AbortController();
  #scrubbing: Promise<unknown> = Promise.resolve();

  constructor(options: GenerationOptions) {
    this.store = options.store;
    this.follower = new Follower({
      ...options,
      counts: this.counts,
      onChanges: (changes) => options.onChanges(changes, this),
      onTrouble: (trouble) => options.onTrouble(trouble, this),
    });
  }

  get ending(): AbortSignal {
    return this.#ending.signal;
  }

  /** What reads its file has to have ended before the file is closed. */
  scrubWith<T>(work: Promise<T>): Promise<T> {
    this.#scrubbing = work.catch(() => {});
    return work;
  }

  async stop(): Promise<void> {
    this.#ending.abort();
    await this.follower.stop();
    await this.#scrubbing;
    this.store.close();
  }
}
