import type { OfferAnswer } from "../contract/worker-api.ts";

/**
 * The offer to take: the cheapest; among equals that of the host which has fewest machines of this app already, so
 * that they spread; then by host name, so that the same offers give the same answer.
 *
 * @param present Machines of the app by host.
 */
export function chooseOffer(
  offers: readonly OfferAnswer[],
  present: ReadonlyMap<string, number>,
): OfferAnswer | null {
  const rank = (a: OfferAnswer, b: OfferAnswer) =>
    a.cost - b.cost ||
    (present.get(a.host_id) ?? 0) - (present.get(b.host_id) ?? 0) ||
    (a.host_id < b.host_id ? -1 : 1);
  return offers.toSorted(rank)[0] ?? null;
}
