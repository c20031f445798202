/** What an edge counts about its services' policies, for `metrics.ts`. */
export class PolicyCounts {
  /** Encoders at work. */
  compressions = 0;
  /** Responses left as they were because `ENCODERS_MAX` were at work. */
  compressionsSkipped = 0;
  /** Generations of a rate limit's clients dropped before their buckets were full again. */
  rateLimitsForgotten = 0;
  /** Key sets let go because there were too many. */
  keySetsForgotten = 0;
}
