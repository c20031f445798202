/** The last incidents, in memory and in the serving generation's file, so that they outlive both process and generation. */
import type { Logger } from "pino";
import { messageOf } from "../../control/contract/errors.ts";
import { type Incident, INCIDENTS_KEPT_MAX } from "./incidents.ts";
import type { ReplicaStore } from "./replica-store.ts";

export class IncidentLog {
  readonly #log: Logger;
  #store: ReplicaStore | null;
  #incidents: Incident[];
  /** Since this process began. */
  count = 0;

  constructor(log: Logger, store: ReplicaStore | null) {
    this.#log = log;
    this.#store = store;
    this.#incidents = store?.incidents().map((json) => JSON.parse(json) as Incident) ?? [];
  }

  get all(): { readonly count: number; readonly incidents: readonly Incident[] } {
    return { count: this.count, incidents: this.#incidents };
  }

  add(incident: Incident): void {
    this.count++;
    this.#incidents.push(incident);
    if (this.#incidents.length > INCIDENTS_KEPT_MAX) this.#incidents.shift();
    const { healed_ms: _, ...shown } = incident;
    this.#log.error({ incident: shown }, "the replica is not what it should be");
    this.#write((store) => store.recordIncident(JSON.stringify(incident)));
  }

  /** Another generation serves; it takes them along. */
  healed(nowMs: number, store: ReplicaStore): void {
    this.#store = store;
    for (const incident of this.#incidents) incident.healed_ms ??= nowMs;
    this.#write(() => store.replaceIncidents(this.#incidents.map((incident) => JSON.stringify(incident))));
  }

  /** The file may be what is wrong. */
  #write(write: (store: ReplicaStore) => void): void {
    if (this.#store === null) return;
    try {
      write(this.#store);
    } catch (error) {
      this.#log.warn({ err: messageOf(error) }, "an incident could not be written to the replica's file");
    }
  }
}
