/**
 * What machines serve, kept once for all machines that serve the same: a million machines have few different lists of
 * services, and a parsed list is larger than all else that is kept of a machine.
 */
import type { Service } from "../../control/contract/machine.ts";
import { type PortWish, wishOf } from "../policy/port-wishes.ts";

export interface ServiceShape {
  readonly services: readonly Service[];
  /** External port → index in `services`, and what the port asks of the edge. */
  readonly ports: readonly {
    readonly port: number;
    readonly service: number;
    readonly wish: PortWish | null;
  }[];
  /** At least one of the ports asks something. */
  readonly wishes: boolean;
}

export const NO_SERVICES: ServiceShape = { services: [], ports: [], wishes: false };

interface Kept {
  readonly shape: ServiceShape;
  uses: number;
}

export class ServiceShapes {
  readonly #kept = new Map<string, Kept>();
  readonly #keys = new Map<ServiceShape, string>();

  get size(): number {
    return this.#kept.size;
  }

  take(services: readonly Service[]): ServiceShape {
    if (services.length === 0) return NO_SERVICES;
    const key = JSON.stringify(services);
    let kept = this.#kept.get(key);
    if (kept === undefined) {
      const ports = services.flatMap((service, i) =>
        service.ports.map((options) => ({ port: options.port, service: i, wish: wishOf(options) }))
      );
      kept = { shape: { services, ports, wishes: ports.some(({ wish }) => wish !== null) }, uses: 0 };
      this.#kept.set(key, kept);
      this.#keys.set(kept.shape, key);
    }
    kept.uses++;
    return kept.shape;
  }

  /** Counterpart of `take`. */
  drop(shape: ServiceShape): void {
    const key = this.#keys.get(shape);
    if (key === undefined) return;
    const kept = this.#kept.get(key)!;
    if (--kept.uses > 0) return;
    this.#kept.delete(key);
    this.#keys.delete(shape);
  }
}
