/** What a request is told, and told to do, where no machine could be picked and waiting for one makes no sense. */
import type { Refusal } from "../relay/refusal.ts";
import type { Exchange } from "./exchange.ts";
import type { NotPicked } from "./pick.ts";
import { INSTANCE_UNAVAILABLE, NO_HEALTHY_MACHINE, NO_MACHINE, REGION_UNAVAILABLE } from "./refusals.ts";

export function noMachine(exchange: Pick<Exchange, "wish">, why: NotPicked): Refusal {
  const wanted = exchange.wish?.steering;
  if (wanted !== undefined && wanted.forceInstance !== null) return INSTANCE_UNAVAILABLE;
  if (wanted !== undefined && wanted.forceRegions !== null) return REGION_UNAVAILABLE;
  return why === "unhealthy" ? NO_HEALTHY_MACHINE : NO_MACHINE;
}
