/** What this host can still take, as pure arithmetic over its machines and open offers. */
import type { MachineState } from "../contract/machine.ts";
import { holdsMemory } from "../machine/transition.ts";

/** The cost of an offer is this much lower where the image is here already (contract, OfferAnswer.cost). */
export const IMAGE_HERE_BONUS = 0.2;

export interface Load {
  readonly machines: readonly {
    readonly id: string;
    readonly state: MachineState;
    readonly memory_mb: number;
  }[];
  readonly offers: readonly { readonly machine_id: string; readonly memory_mb: number }[];
}

/**
 * Memory that is spoken for: machines that hold theirs, created ones that are about to start, and offers. A machine at
 * rest holds nothing, so that scaling to zero frees its host.
 */
export function memoryTakenMb(load: Load, exceptMachineId: string | null = null): number {
  let taken = 0;
  for (const machine of load.machines) {
    if (machine.id !== exceptMachineId && (holdsMemory(machine.state) || machine.state === "created")) {
      taken += machine.memory_mb;
    }
  }
  for (const offer of load.offers) if (offer.machine_id !== exceptMachineId) taken += offer.memory_mb;
  return taken;
}

/** The host's share of memory in use after taking the machine, less the bonus. Lower is better. */
export function offerCost(takenMb: number, machineMb: number, totalMb: number, imageHere: boolean): number {
  return (takenMb + machineMb) / totalMb - (imageHere ? IMAGE_HERE_BONUS : 0);
}
