/**
 * One deploy under way, as its stages see it: the release as last read, the ways to make a step durable, to tell people
 * of progress, and to try again while a worker is away. Each durable step is written under the runner's claim: once
 * another runner has taken the release over, nothing more can be recorded and the stage that tries stops.
 */
import { GodwitError } from "../contract/errors.ts";
import { backoffMs } from "../publish/backoff.ts";
import type { WorkerClient } from "../place/worker-client.ts";
import { type App, lockApp } from "../store/apps.ts";
import type { Sql, Store } from "../store/database.ts";
import { type Host, hostById } from "../store/hosts.ts";
import { appendProgress, recordStep, type Release, type ReleaseChange } from "../store/releases.ts";

/** A worker that stays away for longer fails the deploy. */
export const HOST_RETRY_MS_MAX = 30_000;
/** Between two looks at what a machine listens on. */
export const LISTENERS_POLL_MS = 300;
/** Edges get this long to see that a machine is cordoned before it is stopped. */
export const DRAIN_MS = 2_000;

export interface DeployTools {
  readonly store: Store;
  readonly clientOf: (host: Host) => WorkerClient;
  readonly log: (level: "info" | "warn" | "error", message: string, fields: Record<string, unknown>) => void;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  readonly random: () => number;
  /** @default HOST_RETRY_MS_MAX */
  readonly hostRetryMsMax?: number;
  /** @default DRAIN_MS */
  readonly drainMs?: number;
}

/** The runner that meets this leaves the release to whoever claimed it. */
export class ClaimLost extends Error {}

export class Deployment {
  readonly tools: DeployTools;
  readonly app: App;
  readonly orgId: string;
  /** Aborted when the runner stops or the app is deleted. */
  readonly signal: AbortSignal;
  /** By the runner's clock; counted anew where a deploy is resumed. */
  readonly deadlineMs: number;
  /** Offers taken in this run, by machine; after a restart they have lapsed, and a worker does without. */
  readonly offers = new Map<string, string>();
  readonly #claim: string;
  #release: Release;

  constructor(
    tools: DeployTools,
    taken: { release: Release; claim: string; app: App; signal: AbortSignal },
  ) {
    this.tools = tools;
    this.app = taken.app;
    this.orgId = taken.app.orgId;
    this.signal = taken.signal;
    this.#release = taken.release;
    this.#claim = taken.claim;
    this.deadlineMs = tools.now() + taken.release.waitTimeoutS * 1_000;
  }

  get release(): Release {
    return this.#release;
  }

  /** Makes a step durable, together with what `also` changes. Refuses for an app that is being deleted. */
  async record(change: ReleaseChange, also?: (tx: Sql) => Promise<void>): Promise<void> {
    await this.tools.store.transaction(async (tx) => {
      const app = await lockApp(tx, this.app.id);
      const mayGoOn = this.#release.step === "published" || this.#release.step === "undoing" ||
        change.step === "undoing";
      if (!mayGoOn && (app === null || app.deletingAt !== null)) throw appDeleted(this.app.name);
      if (!await recordStep(tx, this.#release.id, this.#claim, change)) throw new ClaimLost();
      await also?.(tx);
    });
    this.#release = { ...this.#release, ...change };
  }

  /** Tells people how far it is. Lost words are no reason to fail a deploy. */
  async say(message: string): Promise<void> {
    const at = new Date(this.tools.now());
    this.tools.log("info", message, { release: this.release.id, app: this.app.name });
    try {
      await this.tools.store.read((sql) => appendProgress(sql, this.release.id, message, at));
    } catch (error) {
      if (!(error instanceof GodwitError)) throw error;
    }
  }

  async clientOfHost(hostId: string): Promise<WorkerClient> {
    const host = await this.tools.store.read((sql) => hostById(sql, hostId));
    return this.tools.clientOf(host!);
  }

  /** Repeats `work` while no worker can be reached, at most HOST_RETRY_MS_MAX. */
  async whileHostAway<T>(work: () => Promise<T>): Promise<T> {
    const untilMs = this.tools.now() + (this.tools.hostRetryMsMax ?? HOST_RETRY_MS_MAX);
    for (let failures = 1;; failures++) {
      this.signal.throwIfAborted();
      try {
        return await work();
      } catch (error) {
        const away = error instanceof GodwitError &&
          (error.code === "place.host_unreachable" || error.code === "place.no_host");
        if (!away || this.tools.now() >= untilMs) throw error;
        await this.pause(backoffMs(failures, this.tools.random()));
      }
    }
  }

  /** Rejects when aborted. */
  async pause(ms: number): Promise<void> {
    this.signal.throwIfAborted();
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(done, ms);
      const abort = () => {
        clearTimeout(timer);
        reject(this.signal.reason);
      };
      const { signal } = this;
      function done() {
        signal.removeEventListener("abort", abort);
        resolve();
      }
      signal.addEventListener("abort", abort, { once: true });
    });
  }
}

export function appDeleted(appName: string): GodwitError {
  return new GodwitError("release.app_deleted", `Cannot deploy to ${appName}: the app is being deleted`, {
    fault: "client",
  });
}
