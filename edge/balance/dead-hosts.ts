/**
 * Which hosts' machines are passed over because membership says that they are dead, before any row says so. Rows decide
 * about everything else: `left` says that an agent has ended, not its host.
 *
 * An edge whose own agent is cut off sees everybody die. So where more than half of the members are dead none of it is
 * believed, and machines are passed over as they fail (`breaker.ts`).
 */
import type { MemberState } from "../../control/contract/membership.ts";

export interface DeadHosts {
  readonly hosts: ReadonlySet<string>;
  /** More than half are dead. */
  readonly distrusted: boolean;
}

/**
 * @param before passed over until now: one that is back and told as suspect has come and gone too often, and stays so
 *   until it is told as alive
 * @param ownHostId never dead, whatever anybody says
 */
export function deadHosts(
  members: Iterable<readonly [hostId: string, state: MemberState]>,
  before: ReadonlySet<string>,
  ownHostId: string | null,
): DeadHosts {
  const hosts = new Set<string>();
  let count = 0, dead = 0;
  for (const [hostId, state] of members) {
    if (state === "left") continue;
    count++;
    if (state === "dead") dead++;
    const out = state === "dead" || (state === "suspect" && before.has(hostId));
    if (out && hostId !== ownHostId) hosts.add(hostId);
  }
  const distrusted = dead * 2 > count;
  return { hosts: distrusted ? new Set() : hosts, distrusted };
}
