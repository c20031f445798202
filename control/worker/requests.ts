/**
 * What each request of the worker API means. Asking for what already is answers with what is; what is not possible in
 * the machine's state is refused by the transition table. A request is accepted once its operation is on disk.
 */
import { GodwitError, messageOf } from "../contract/errors.ts";
import type { GuestListeners } from "../contract/guest-api.ts";
import type { LogLine } from "../contract/events.ts";
import type { MachineSpec, MachineState, MachineView } from "../contract/machine.ts";
import type { StopBody } from "../contract/worker-api.ts";
import { isSettledFor } from "../machine/reach.ts";
import { refusal } from "../machine/refusal.ts";
import { transition } from "../machine/transition.ts";
import { pause } from "./backoff.ts";
import type { Host } from "./host.ts";
import { checkMemory } from "./offers.ts";
import type { Engine, Outcome } from "./operations/engine.ts";
import type { StopInput } from "./operations/stop.ts";
import type { GuestClient } from "./vmm/guest-client.ts";
import {
  findMachine,
  insertMachine,
  listMachines,
  type Machine,
  moveMachine,
  patchMachine,
  viewOf,
  viewWithEvents,
} from "./store/machines.ts";
import type { LifeEventSource } from "./store/life-events.ts";
import { unsupported } from "./vmm/unsupported.ts";

export class Requests {
  readonly #host: Host;
  readonly #engine: Engine;
  #closing = false;
  /** Machines that a new agent starts again: for those who wait, `started` is still to come. */
  readonly #returning = new Set<string>();

  constructor(host: Host, engine: Engine) {
    this.#host = host;
    this.#engine = engine;
  }

  list(appId: string | null): MachineView[] {
    return listMachines(this.#host.store, appId).filter(isVisible).map((m) => viewOf(this.#host.store, m));
  }

  view(machineId: string): MachineView {
    return viewOf(this.#host.store, this.#find(machineId));
  }

  viewWithEvents(machineId: string): MachineView {
    return viewWithEvents(this.#host.store, this.#find(machineId));
  }

  /** Resolves when the machine is made; a failure leaves nothing of it. */
  async create(spec: MachineSpec): Promise<MachineView> {
    const { store, config } = this.#host;
    this.#checkOpen("create", spec.id);
    if (spec.region !== config.region) {
      throw new GodwitError(
        "machine.wrong_region",
        `Cannot create machine ${spec.id} for region ${spec.region}: host ${config.host_id} is in ${config.region}`,
        { fault: "client", hint: "ask a host of that region" },
      );
    }
    const outcome = this.#engine.submit(spec.id, "create", null, () => {
      const found = findMachine(store, spec.id);
      if (found !== null) return this.#isSame(found, spec) ? false : this.#refuseOther(found);
      checkMemory(this.#host, spec.id, spec.guest.memory_mb);
      insertMachine(store, spec);
      return true;
    });
    if (outcome === null) return await this.#awaitCreate(spec);
    const error = await outcome;
    if (error !== null) throw error;
    return this.view(spec.id);
  }

  /** A repeated request waits for the one under way; where that is undone, it tries itself. */
  async #awaitCreate(spec: MachineSpec): Promise<MachineView> {
    await this.#engine.settled(spec.id);
    const found = findMachine(this.#host.store, spec.id);
    return found === null ? await this.create(spec) : this.view(spec.id);
  }

  /** By `worker` the machine is brought back, and its restarts go on being counted. */
  start(machineId: string, source: LifeEventSource = "api"): MachineView {
    const { store } = this.#host;
    this.#checkOpen("start", machineId);
    const machine = this.#find(machineId);
    this.#submit(machine, "start", null, () => {
      const moves = transition(machine.state, "start").kind === "move";
      if (moves) checkMemory(this.#host, machineId, machine.spec.guest.memory_mb);
      const isBroughtBack = source === "worker";
      const anew = isBroughtBack ? {} : { restarts: 0, restarts_at_ms: [] };
      const patch = { desired: "started", reason: null, ...anew } as const;
      const told = isBroughtBack ? { source, type: "restart" } as const : { source };
      return moveMachine(store, machineId, "start", patch, told);
    });
    return this.view(machineId);
  }

  /** By `worker` the whole host stops, and the machine is to come back with it. */
  stop(machineId: string, body: StopBody, source: LifeEventSource = "api"): MachineView {
    const { store } = this.#host;
    const machine = this.#find(machineId);
    const input: StopInput = {
      requested: true,
      restarting: false,
      signal: body.signal,
      timeout_s: body.timeout_s,
      exit: null,
      reason: null,
    };
    const keepDesired = source === "worker";
    this.#submit(machine, "stop", input, () => {
      const patch = keepDesired ? {} : { desired: "stopped" } as const;
      const moved = moveMachine(store, machineId, "stop", patch, { source });
      // Asked to stop while suspended by the stack: then it is not to come back.
      if (!moved && !keepDesired && machine.desired === "started") {
        patchMachine(store, machineId, { desired: "stopped" });
      }
      return moved;
    });
    return this.view(machineId);
  }

  /** Whether machines here can be suspended; else they are stopped by whoever wants them to rest. */
  get canSuspend(): boolean {
    return this.#host.driver.can.suspend === null;
  }

  suspend(machineId: string, source: LifeEventSource = "api"): MachineView {
    const { store, driver } = this.#host;
    const machine = this.#find(machineId);
    const obstacle = driver.can.suspend;
    if (obstacle !== null) throw unsupported("suspend", machineId, obstacle);
    this.#submit(
      machine,
      "suspend",
      null,
      () => moveMachine(store, machineId, "suspend", { desired: "stopped" }, { source }),
    );
    return this.view(machineId);
  }

  /** What a suspended machine saved cannot be taken up any more: from now on it is stopped. */
  memoryLost(machineId: string, reason: string): void {
    const { store } = this.#host;
    const input: StopInput = {
      requested: false,
      restarting: false,
      signal: null,
      timeout_s: null,
      exit: null,
      reason,
    };
    void this.#engine.submit(machineId, "stop", input, () => moveMachine(store, machineId, "stop"));
  }

  /**
   * The machine's process, or its VM, has ended unasked. What follows is for the machine to rest, to return with its host,
   * or to be started anew by its restart policy.
   */
  ended(
    machineId: string,
    exit: StopInput["exit"],
    reason: string | null,
    next: "rest" | "return" | "restart" = "rest",
  ): Promise<Outcome> | null {
    const { store } = this.#host;
    const restarting = next === "restart";
    const input: StopInput = { requested: false, restarting, signal: null, timeout_s: null, exit, reason };
    return this.#engine.submit(
      machineId,
      "stop",
      input,
      () => moveMachine(store, machineId, "exited", next === "rest" ? { desired: "stopped" } : {}),
    );
  }

  /** Starts a machine that is to run, once what is under way has ended and unless it runs by then. */
  async bringBack(machineId: string): Promise<void> {
    this.#returning.add(machineId);
    const { store, log, logs } = this.#host;
    await this.#engine.settled(machineId);
    const machine = findMachine(store, machineId);
    try {
      if (machine?.desired === "started" && machine.state !== "started") this.start(machineId, "worker");
    } catch (error) {
      log.error({ machine: machineId, err: error }, "cannot bring the machine back");
      logs.system(machineId, `was not started again: ${messageOf(error)}`);
    } finally {
      this.#returning.delete(machineId);
      // Whoever waited for more than has come is to look again.
      store.write(() => store.touch(machineId));
    }
  }

  cordon(machineId: string, cordoned: boolean): MachineView {
    const machine = this.#find(machineId);
    const next = transition(machine.state, "start");
    if (next.kind === "refuse" && !next.retryable) throw refusal(machineId, machine.state, "start", next);
    if (machine.cordoned !== cordoned) {
      this.#host.store.write(() => patchMachine(this.#host.store, machineId, { cordoned }));
    }
    return this.view(machineId);
  }

  destroy(machineId: string): MachineView {
    const { store } = this.#host;
    const machine = findMachine(store, machineId);
    if (machine === null) throw notFound(machineId);
    this.#engine.submit(machineId, "destroy", null, () => {
      const patch = { cordoned: true, desired: "stopped" } as const;
      const moved = moveMachine(store, machineId, "destroy", patch, { source: "api" });
      // One that gave up before is tried again when somebody asks again.
      return moved || (machine.state === "destroying" && !this.#engine.isBusy(machineId));
    });
    return this.view(machineId);
  }

  /** @throws GodwitError `machine.wait_timeout` (408). */
  async wait(
    machineId: string,
    wanted: ReadonlySet<MachineState>,
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<MachineView> {
    const over = new AbortController();
    const ends = AbortSignal.any([signal, over.signal, AbortSignal.timeout(timeoutMs)]);
    for (;;) {
      const changed = this.#nextChange(machineId, ends);
      const view = this.view(machineId);
      if (wanted.has(view.state) || (!this.#returning.has(machineId) && isSettledFor(view.state, wanted))) {
        over.abort();
        return view;
      }
      await changed;
      if (!ends.aborted) continue;
      const last = this.view(machineId);
      if (wanted.has(last.state)) return last;
      throw new GodwitError(
        "machine.wait_timeout",
        `Machine ${machineId} is ${last.state}, not ${[...wanted].join(" or ")}, after ${
          timeoutMs / 1_000
        } s`,
        { fault: "client", retryable: true, hint: "ask again, or look at the machine's logs" },
      );
    }
  }

  async listeners(machineId: string): Promise<GuestListeners> {
    return await this.guest(machineId).listeners();
  }

  /** The guest of a machine that runs. @throws GodwitError `machine.not_started`, `guest.gone` */
  guest(machineId: string): GuestClient {
    const machine = this.#find(machineId);
    const watcher = this.#host.watchers.find(machineId);
    if (machine.state === "started" && watcher !== null) return watcher.guest();
    throw new GodwitError("machine.not_started", `Machine ${machineId} is ${machine.state}, not started`, {
      fault: "client",
      hint: "start it first",
    });
  }

  logs(machineId: string, tail: number): LogLine[] {
    this.#find(machineId);
    return this.#host.logs.tail(machineId, tail);
  }

  /**
   * Stops all machines and takes no new work, but remembers which of them ran: the next agent starts those again.
   * Resolves when all are at rest, or with the ids of those that were not after `timeoutMs`.
   */
  async shutdown(timeoutMs: number): Promise<{ stopped: number; left: string[] }> {
    this.#closing = true;
    const { store } = this.#host;
    const end = new AbortController();
    const timer = pause(timeoutMs, end.signal);
    const live = listMachines(store).filter((machine) => transition(machine.state, "stop").kind === "move");
    for (const machine of live) this.stop(machine.id, { signal: null, timeout_s: null }, "worker");
    const all = listMachines(store).filter((machine) => this.#engine.isBusy(machine.id));
    await Promise.race([timer, Promise.all(all.map((machine) => this.#engine.settled(machine.id)))]);
    end.abort();
    const left = all.filter((machine) => this.#engine.isBusy(machine.id)).map((machine) => machine.id);
    return { stopped: live.length - left.length, left };
  }

  #submit(machine: Machine, kind: "start" | "suspend" | "stop", input: unknown, admit: () => boolean): void {
    // Nobody waits for the outcome: it shows in the machine's state and reason.
    void this.#engine.submit(machine.id, kind, input, admit);
  }

  #nextChange(machineId: string, ends: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const end = () => {
        unlisten();
        ends.removeEventListener("abort", end);
        resolve();
      };
      const unlisten = this.#host.store.onChange((touched) => touched.has(machineId) && end());
      if (ends.aborted) end();
      else ends.addEventListener("abort", end);
    });
  }

  #find(machineId: string): Machine {
    const machine = findMachine(this.#host.store, machineId);
    if (machine === null || !isVisible(machine)) throw notFound(machineId);
    return machine;
  }

  #checkOpen(asked: string, machineId: string): void {
    if (!this.#closing) return;
    throw new GodwitError(
      "worker.shutting_down",
      `Cannot ${asked} machine ${machineId}: host ${this.#host.config.host_id} is shutting down`,
      { fault: "us", retryable: true, hint: "ask again when it is back, or ask another host" },
    );
  }

  #isSame(found: Machine, spec: MachineSpec): boolean {
    const bare = (of: MachineSpec) => JSON.stringify({ ...of, offer_id: null });
    return found.state !== "destroyed" && found.state !== "destroying" && bare(found.spec) === bare(spec);
  }

  #refuseOther(found: Machine): never {
    throw new GodwitError(
      "machine.exists",
      `Cannot create machine ${found.id}: there is one of that id (${found.state}) with another specification`,
      { fault: "client", hint: "use a new id" },
    );
  }
}

/** A machine under construction is nobody's business yet. */
function isVisible(machine: Machine): boolean {
  return machine.made || machine.state !== "created";
}

export function notFound(machineId: string): GodwitError {
  return new GodwitError("machine.not_found", `There is no machine ${machineId} on this host`, {
    fault: "client",
    hint: "it may live on another host, or be destroyed",
  });
}
