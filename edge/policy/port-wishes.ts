/**
 * Which machine's options count for a service. The machines of one app can differ: while a deploy runs, and for as long
 * as a machine outlives its release. A request is judged before its machine is picked, so one of them must speak for the
 * service: an uncordoned one before a cordoned one (a deploy cordons what it replaces), then the one started last, then
 * the greater id, so that every edge decides alike. Machines that are stopped count too: an app that sleeps keeps its
 * redirect and its access rules.
 */
import type { ServicePort } from "../../control/contract/machine.ts";
import type { AppRoute } from "../routes/app-route.ts";
import type { MachineEntry } from "../routes/machine-entry.ts";
import { makePolicy, type PolicyDependencies, policyKey } from "./policy.ts";

/** What one port of a machine asks of the edge. */
export interface PortWish {
  readonly key: string;
  readonly options: ServicePort;
}

/** @returns null where it asks nothing */
export function wishOf(options: ServicePort): PortWish | null {
  const key = policyKey(options);
  return key === null ? null : { key, options };
}

/** Sets the policy of each service anew; one whose options did not change keeps its state. */
export function applyPolicies(app: AppRoute, dependencies: PolicyDependencies): void {
  const some = app.machines.some(({ shape }) => shape.wishes);
  for (const service of app.services.values()) {
    if (!some && service.policy === null) continue;
    const speaker = speakerOf(service.port, app.machines);
    if (speaker === null) continue;
    const wish = wishAt(speaker, service.port) ?? null;
    if (wish === null) service.policy = null;
    else if (service.policy?.key !== wish.key) {
      service.policy = makePolicy(wish.key, wish.options, dependencies);
    }
  }
}

/** @returns undefined where the machine does not serve the port at all */
function wishAt({ shape }: MachineEntry, port: number): PortWish | null | undefined {
  return shape.ports.find((each) => each.port === port)?.wish;
}

function speakerOf(port: number, machines: readonly MachineEntry[]): MachineEntry | null {
  let best: MachineEntry | null = null;
  for (const machine of machines) {
    if (best !== null && !outranks(machine, best)) continue;
    if (wishAt(machine, port) !== undefined) best = machine;
  }
  return best;
}

function outranks(one: MachineEntry, other: MachineEntry): boolean {
  if (one.cordoned !== other.cordoned) return other.cordoned;
  const oneMs = one.startedAtMs ?? 0, otherMs = other.startedAtMs ?? 0;
  return oneMs === otherMs ? one.id > other.id : oneMs > otherMs;
}
