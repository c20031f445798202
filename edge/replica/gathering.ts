/**
 * How long a follower leaves the streams alone after it took something, so that what comes meanwhile is taken as one. To
 * take in a batch costs many times what one more row in it does: waking up, a transaction, word to each relay. What comes
 * alone is taken at once and followed by no rest. Pure.
 */

/** At the most so much later a row is known. Shorter than what lies between a publisher's batches, which gather as well. */
export const GATHER_MS = 15;
/** Answers that follow each other more closely are of a steady stream; a rest and its reading must count as close. */
const CLOSE_MS = 18;

/** @param sinceNewsMs between the last two answers that brought something */
export function gatherMs(sinceNewsMs: number): number {
  return sinceNewsMs < CLOSE_MS ? GATHER_MS : 0;
}
