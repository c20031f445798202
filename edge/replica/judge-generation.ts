/**
 * Whether the next generation may take over from the one that serves. Pure.
 *
 * The streams may lack what an owner has not published again yet, and a snapshot may be of a replica that was wrong; so
 * each owner's digest has to say that its rows are there. An owner that is silent past a time of grace (its host is
 * dead, or it publishes no digests) keeps the rows that the serving generation has of it. A generation that is worse is
 * given up: the serving one goes on, and another is built later.
 */

/** Digests come every 15 s, and an owner that finds its stream emptied publishes everything at its next one. */
export const SILENCE_GRACE_MS = 45_000;

export type DigestVerdict = "agrees" | "differs" | "none";

export interface OwnerState {
  /** Live rows. */
  readonly rows: number;
  /** Of the newest digest that was compared. */
  readonly digest: DigestVerdict;
  /** When that was published, by the owner's clock. */
  readonly digestMs: number;
  /** When the newest of all that was taken of it was published. */
  readonly newestMs: number;
}

export type GenerationVerdict =
  | { readonly verdict: "take_over"; readonly silent: ReadonlySet<string> }
  | { readonly verdict: "wait"; readonly owner: string }
  | { readonly verdict: "give_up"; readonly reason: string };

const NOTHING: OwnerState = { rows: 0, digest: "none", digestMs: 0, newestMs: 0 };

/**
 * A stream that lost its tail has old digests that agree with old rows; so the next one must have as new ones as the
 * serving one has, and a digest that is newer than all that the serving one had when the next one was begun.
 * @param serving of a generation that is known to be damaged: every digest `none`; `digestMs`: how new a digest must be
 * @param followedMs for how long the next one has been caught up
 */
export function judgeGeneration(
  serving: ReadonlyMap<string, OwnerState>,
  next: ReadonlyMap<string, OwnerState>,
  followedMs: number,
  graceMs: number = SILENCE_GRACE_MS,
): GenerationVerdict {
  const patient = followedMs < graceMs;
  const silent = new Set<string>();
  let waitFor: string | null = null;
  for (const owner of new Set([...serving.keys(), ...next.keys()])) {
    const before = serving.get(owner) ?? NOTHING;
    const known = next.get(owner) ?? NOTHING;
    const isOld = known.digestMs < before.digestMs || known.newestMs < before.newestMs;
    const after = isOld ? "none" : known.digest;
    if (after === "agrees") continue;
    if (after === "none") {
      if (before.rows === 0) continue;
      silent.add(owner);
    }
    if (patient) waitFor ??= owner;
    else if (after === "differs" && before.digest === "agrees") {
      return {
        verdict: "give_up",
        reason: `rows of ${owner} differ from its digest, and do not in the serving one`,
      };
    }
  }
  return waitFor === null ? { verdict: "take_over", silent } : { verdict: "wait", owner: waitFor };
}
