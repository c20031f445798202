/**
 * What one request wants or does not want of a machine: where it asked to go (`balance/steering.ts`), and which machines
 * have failed it already. Most requests have none of it, and no Wish.
 */
import { MachineId } from "../../control/contract/names.ts";
import { regionMatches } from "../balance/region-alias.ts";
import type { RegionDistances } from "../balance/region-distance.ts";
import { type Steering, steering } from "../balance/steering.ts";
import type { RegionPool, ServiceRoute } from "../routes/app-route.ts";
import type { Backend } from "../routes/backend.ts";
import type { NotPicked } from "./pick.ts";

const ANYWHERE = steering({});

export class Wish {
  readonly steering: Steering;
  /** Machines that were tried in vain. */
  #tried: Backend[] = [];

  constructor(wanted: Steering = ANYWHERE) {
    this.steering = wanted;
  }

  avoid(backend: Backend): void {
    if (!this.#tried.includes(backend)) this.#tried.push(backend);
  }

  /** @returns false where there was nothing to forgive */
  forgive(): boolean {
    if (this.#tried.length === 0) return false;
    this.#tried = [];
    return true;
  }

  allows(backend: Backend): boolean {
    return backend.machineId !== this.steering.avoidInstance && !this.#tried.includes(backend);
  }

  /** May the request go there at all? For who waits for a place. */
  wants(backend: Pick<Backend, "machineId" | "region">): boolean {
    const { forceInstance, avoidInstance, forceRegions } = this.steering;
    if (backend.machineId === avoidInstance) return false;
    if (forceInstance !== null) return backend.machineId === forceInstance;
    return forceRegions === null || forceRegions.some((name) => regionMatches(name, backend.region));
  }

  /** The preferred machine's id where the request goes to another one. Only an id: the client wrote it. */
  missedBy(backend: Backend): string | null {
    const { preferInstance } = this.steering;
    if (preferInstance === null || preferInstance === backend.machineId) return null;
    return MachineId.safeParse(preferInstance).success ? preferInstance : null;
  }

  /** The service's regions in the order of this wish; forced regions alone where there are some. */
  pools(service: ServiceRoute, distances: RegionDistances): RegionPool[] {
    const left = [...service.farByDistance(distances)];
    const [first] = service.near;
    if (first !== undefined) left.unshift({ region: first.region, backends: service.near });
    const { forceRegions, preferRegions } = this.steering;
    const wanted = forceRegions ?? preferRegions;
    if (wanted === null) return left;
    const ordered: RegionPool[] = [];
    for (const name of wanted) {
      for (let i = 0; i < left.length;) {
        if (regionMatches(name, left[i]!.region)) ordered.push(...left.splice(i, 1));
        else i++;
      }
    }
    return forceRegions === null ? [...ordered, ...left] : ordered;
  }

  /** What the machines that it may go to are doing, where none of them takes requests. */
  missing(service: ServiceRoute): NotPicked {
    const { forceInstance, avoidInstance, forceRegions } = this.steering;
    let found: NotPicked = "none";
    for (const machine of service.app.machines) {
      const { id, region, state } = machine;
      if (id === avoidInstance || (forceInstance !== null && id !== forceInstance)) continue;
      if (forceRegions?.some((name) => regionMatches(name, region)) === false) continue;
      const wanted = machine.cordoned ? null : machine.serviceAt(service.port);
      if (wanted === null) continue;
      if (state === "starting" || (machine.leaving && wanted.auto_start_machines !== false)) {
        return "starting";
      }
      if (machine.startable && wanted.auto_start_machines !== false) found = "stopped";
      else if (state === "started" && !machine.healthy && found === "none") found = "unhealthy";
    }
    return found;
  }
}
