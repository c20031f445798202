/** What the processes of this benchmark say to each other, and the changes whose way is timed: a new host name each. */

export function probeHost(index: number): string {
  return `probe-${index}.bench.example`;
}

/** @returns null where it is no probe */
export function probeIndex(host: string): number | null {
  const found = /^probe-(\d+)\.bench\.example$/.exec(host);
  return found === null ? null : Number(found[1]);
}

/** Alike in all processes of a machine, with fractions: `Date.now()` has none. */
export function sharedNowMs(): number {
  return performance.timeOrigin + performance.now();
}

export type ToSource =
  | {
    readonly type: "open";
    readonly databaseUrl: string;
    readonly redisUrl: string;
    readonly probes: number;
  }
  /** Commits that many changes at that pace, from change `first` on; fewer where that takes twice as long as it should. */
  | {
    readonly type: "run";
    readonly first: number;
    readonly count: number;
    readonly perSecond: number;
    readonly perTransaction: number;
  }
  /** Writes when each change's COMMIT was sent, as doubles. */
  | { readonly type: "report"; readonly file: string }
  | { readonly type: "stop" };

export type ToEdge =
  | {
    readonly type: "open";
    readonly redisUrl: string;
    readonly replicaFiles: readonly string[];
    readonly probes: number;
    /** None: signatures are not looked at. */
    readonly apiPublicKey?: string;
  }
  /** How many probes each of its edges has routed. */
  | { readonly type: "count" }
  /** Writes when each edge had routed each probe, as doubles, into a file each. */
  | { readonly type: "report"; readonly files: readonly string[] }
  | { readonly type: "stop" };

/** An answer to each message, in order. */
export type Answer =
  | { readonly type: "done" }
  | { readonly type: "counts"; readonly counts: readonly number[] }
  | { readonly type: "ran"; readonly count: number; readonly seconds: number; readonly late: number }
  | { readonly type: "failed"; readonly why: string };
