/** What a member counts; `metrics.ts` makes the metrics of it when somebody asks. */
export class MembershipCounts {
  readonly sent = { ping: 0, ack: 0, ask: 0, nack: 0, gossip: 0, compare: 0, state: 0 };
  probes = 0;
  probesFailed = 0;
  /** Begun here, and not heard of. */
  suspicions = 0;
  /** Of this host, by others, that it objected to. */
  refutations = 0;
  /** Suspicions that ran out here. */
  deaths = 0;
  /** Times that this process stood still. */
  stalls = 0;
  /** Another host uses this one's name. */
  twins = 0;
  /** Pings for another host, which had this address before. */
  misdirected = 0;
  /** Bounds that were met. */
  relaysRefused = 0;
  statesRefused = 0;
  membersRefused = 0;
  addressesRefused = 0;
}
