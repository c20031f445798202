/**
 * Machines as their workers show them, asked for once per request, host and app. A host that cannot be reached takes no
 * query down: its machines are shown from the ledger, with the state UNKNOWN.
 */
import { GodwitError } from "../contract/errors.ts";
import type { LifeEvent, MachineView } from "../contract/machine.ts";
import { QUERY_TIMEOUT_MS, type WorkerClient } from "../place/worker-client.ts";
import type { Store } from "../store/database.ts";
import { type Host, hostById } from "../store/hosts.ts";
import type { MachineLine } from "../store/machines.ts";

export interface SeenMachine {
  readonly line: MachineLine;
  /** null where the worker cannot be reached or does not know the machine. */
  readonly view: MachineView | null;
  readonly hostStatus: "OK" | "UNREACHABLE";
}

export class MachineViews {
  readonly #store: Store;
  readonly #clientOf: (host: Host) => WorkerClient;
  readonly #asked = new Map<string, Promise<Map<string, MachineView> | null>>();

  constructor(store: Store, clientOf: (host: Host) => WorkerClient) {
    this.#store = store;
    this.#clientOf = clientOf;
  }

  async of(line: MachineLine): Promise<SeenMachine> {
    if (line.destroyedAt !== null) return { line, view: null, hostStatus: "OK" };
    const name = `${line.hostId}/${line.appId}`;
    let asked = this.#asked.get(name);
    if (asked === undefined) this.#asked.set(name, asked = this.#ask(line.hostId, line.appId));
    const views = await asked;
    return {
      line,
      view: views?.get(line.id) ?? null,
      hostStatus: views === null ? "UNREACHABLE" : "OK",
    };
  }

  /** What happened to the machine, newest first; lists do not have it, so its worker is asked for just this one. */
  async eventsOf(line: MachineLine): Promise<LifeEvent[]> {
    const host = await this.#store.read((sql) => hostById(sql, line.hostId));
    if (host === null) return [];
    try {
      return (await this.#clientOf(host).machine(line.id, { timeoutMs: QUERY_TIMEOUT_MS })).events ?? [];
    } catch (error) {
      if (error instanceof GodwitError) return [];
      throw error;
    }
  }

  /** null where the host cannot be reached. */
  async #ask(hostId: string, appId: string): Promise<Map<string, MachineView> | null> {
    const host = await this.#store.read((sql) => hostById(sql, hostId));
    if (host === null) return null;
    try {
      const views = await this.#clientOf(host).machinesOfApp(appId, { timeoutMs: QUERY_TIMEOUT_MS });
      return new Map(views.map((view) => [view.id, view]));
    } catch (error) {
      if (error instanceof GodwitError) return null;
      throw error;
    }
  }
}
