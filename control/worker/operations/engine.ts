/**
 * Runs durable operations. Before each effect the intent stands in SQLite (the operation's row and its step), so that an
 * agent that was killed anywhere knows on its return what may be half done: it repeats that step and goes on, or goes on
 * undoing. One operation a machine at a time; a newer one that is allowed in (the transition table decides) supersedes
 * the older: that one is told to end, and the newer begins when it has.
 */
import { assert, GodwitError, messageOf } from "../../contract/errors.ts";
import { type Backoff, backoffMs, pause } from "../backoff.ts";
import {
  insertOperation,
  type OperationRow,
  setMemory,
  setStatus,
  setStep,
  unfinishedOperations,
} from "../store/operations.ts";
import type { Store } from "../store/store.ts";
import { Lane } from "./lane.ts";
import {
  type Boundary,
  type Kind,
  type Operation,
  SETTLE,
  type Step,
  type StepContext,
} from "./operation.ts";

export const ORDINARY_OPERATIONS_MAX = 64;
/** A step that cannot be undone is tried this often; the housekeeping asks again later. */
export const STEP_TRIES_MAX = 8;
const RETRY: Backoff = { firstMs: 100, capMs: 10_000 };

export interface EngineOptions {
  readonly store: Store;
  readonly operations: readonly Operation[];
  readonly bootsMax: number;
  readonly random: () => number;
  readonly onBoundary?: Boundary | undefined;
  /** Told of each failed try, for the log and the metrics. */
  readonly onFailure?: ((kind: Kind, machineId: string, step: string, error: unknown) => void) | undefined;
  /** Told when an operation has ended and another may begin. */
  readonly onEnd?: ((kind: Kind, machineId: string, outcome: Outcome) => void) | undefined;
}

/** How an operation ended: null well, else the error. */
export type Outcome = GodwitError | null;

interface Active {
  readonly abort: AbortController;
  /** Never rejects. */
  readonly outcome: Promise<Outcome>;
}

interface RunContext extends StepContext {
  /** In the transaction of the next step's intent. */
  keepNotes(): void;
}

export class Engine {
  readonly #options: EngineOptions;
  readonly #operations: ReadonlyMap<string, Operation>;
  readonly #active = new Map<string, Active>();
  readonly #lanes: Readonly<Record<Operation["lane"], Lane>>;
  #halted = false;

  constructor(options: EngineOptions) {
    this.#options = options;
    this.#operations = new Map(options.operations.map((operation) => [operation.kind, operation]));
    this.#lanes = { boot: new Lane(options.bootsMax), ordinary: new Lane(ORDINARY_OPERATIONS_MAX) };
  }

  /**
   * Begins an operation. `admit` runs in the transaction that writes the operation's row: it moves the machine's state,
   * throws where that is refused, and returns false where nothing is to be done.
   *
   * @returns the outcome to come, or null where nothing is to be done
   */
  submit(machineId: string, kind: Kind, input: unknown, admit: () => boolean): Promise<Outcome> | null {
    const { store } = this.#options;
    const row = store.write(() => {
      if (!admit()) return null;
      for (const older of unfinishedOperations(store)) {
        if (older.machine_id === machineId) setStatus(store, older.id, "superseded");
      }
      return insertOperation(store, machineId, kind, input);
    });
    return row === null ? null : this.#launch(row);
  }

  /** Goes on with what a former agent left, or what fell over a broken disk in this one's time. */
  resume(): void {
    for (const row of unfinishedOperations(this.#options.store)) {
      if (!this.#active.has(row.machine_id)) void this.#launch(row);
    }
  }

  isBusy(machineId: string): boolean {
    return this.#active.has(machineId);
  }

  /** Resolves when no operation of the machine is under way. */
  async settled(machineId: string): Promise<void> {
    for (let active; (active = this.#active.get(machineId)) !== undefined;) await active.outcome;
  }

  /** Runs `body` while no operation of the machine can begin; false and nothing done where one is under way. */
  async exclusively(machineId: string, body: () => Promise<void>): Promise<boolean> {
    if (this.#active.has(machineId) || this.#halted) return false;
    const running = body();
    const active: Active = {
      abort: new AbortController(),
      outcome: running.then(() => null, () => null),
    };
    this.#active.set(machineId, active);
    try {
      await running;
      return true;
    } finally {
      this.#forget(machineId, active);
    }
  }

  /** Ends all waits and leaves the operations as they stand in the database, for the next agent to go on with. */
  async halt(): Promise<void> {
    this.#halted = true;
    const all = [...this.#active.values()];
    for (const active of all) active.abort.abort();
    await Promise.all(all.map((active) => active.outcome));
  }

  #launch(row: OperationRow): Promise<Outcome> {
    const before = this.#active.get(row.machine_id);
    before?.abort.abort();
    const operation = this.#operations.get(row.kind);
    assert(operation !== undefined, `operation ${row.id} is of unknown kind ${row.kind}`);
    const abort = new AbortController();
    const outcome = (before?.outcome ?? Promise.resolve(null))
      .then(() =>
        this.#lanes[operation.lane].run(() => this.#end(operation, row, abort.signal), abort.signal)
      )
      .then((ended) => ended === null ? superseded(operation.kind, row.machine_id) : ended.outcome)
      // What is left to reject is a broken invariant or a broken disk. The row stays for the next agent.
      .catch((error) => {
        this.#options.onFailure?.(operation.kind, row.machine_id, "engine", error);
        return asGodwitError(operation.kind, row.machine_id, "engine", error);
      })
      .then((ended) => {
        this.#forget(row.machine_id, active);
        this.#options.onEnd?.(operation.kind, row.machine_id, ended);
        return ended;
      });
    const active: Active = { abort, outcome };
    this.#active.set(row.machine_id, active);
    return outcome;
  }

  #forget(machineId: string, active: Active): void {
    if (this.#active.get(machineId) === active) this.#active.delete(machineId);
  }

  /** Wrapped, because a lane answers null where it never ran. */
  async #end(operation: Operation, row: OperationRow, signal: AbortSignal): Promise<{ outcome: Outcome }> {
    return { outcome: await this.#drive(operation, row, signal) };
  }

  async #drive(operation: Operation, row: OperationRow, signal: AbortSignal): Promise<Outcome> {
    const context = this.#contextOf(row, signal);
    let failedAt = row.step;
    let error: GodwitError | null = row.error;
    if (row.status === "running") {
      const first = operation.resumeAt === "first" ? 0 : row.step;
      const failure = await this.#forward(operation, row, context, first);
      if (signal.aborted) return superseded(operation.kind, row.machine_id);
      if (failure === null) {
        return await this.#settle(operation, row, signal, () => operation.done(context), null);
      }
      ({ error, at: failedAt } = failure);
      if (operation.onFailure === "undo") {
        const { store } = this.#options;
        store.write(() => {
          setStep(store, row.id, failedAt);
          setStatus(store, row.id, "undoing", error);
        });
      }
    }
    assert(error !== null, `operation ${row.id} is undone without a reason`);
    if (operation.onFailure === "undo") await this.#backward(operation, row, context, failedAt);
    if (signal.aborted) return superseded(operation.kind, row.machine_id);
    const reason = error;
    return await this.#settle(operation, row, signal, () => operation.failed(context, reason), reason);
  }

  async #forward(
    operation: Operation,
    row: OperationRow,
    context: RunContext,
    first: number,
  ): Promise<{ error: GodwitError; at: number } | null> {
    for (let at = first; at < operation.steps.length; at++) {
      if (context.signal.aborted) return null;
      const step = operation.steps[at]!;
      const { store } = this.#options;
      if (at !== row.step) {
        store.write(() => {
          context.keepNotes();
          setStep(store, row.id, at);
        });
      }
      const error = await this.#tries(operation, step, step.name, context, (c) => step.run(c));
      if (context.signal.aborted) return null;
      if (error !== null) return { error, at };
    }
    return null;
  }

  async #backward(
    operation: Operation,
    row: OperationRow,
    context: StepContext,
    from: number,
  ): Promise<void> {
    const { store } = this.#options;
    for (let at = from; at >= 0 && !context.signal.aborted; at--) {
      const step = operation.steps[at]!;
      if (step.undo === undefined) continue;
      store.write(() => setStep(store, row.id, at));
      const undo = step.undo.bind(step);
      // An undo that fails to the end was reported with each try; what it left is the sweep's to find.
      await this.#tries({ ...operation, onFailure: "retry" }, step, `undo-${step.name}`, context, undo);
    }
  }

  /** Runs an effect between its boundaries, again where the operation can only go forward. */
  async #tries(
    operation: Operation,
    step: Step,
    name: string,
    context: StepContext,
    effect: (context: StepContext) => Promise<void>,
  ): Promise<GodwitError | null> {
    const { onBoundary, onFailure, random } = this.#options;
    for (let tries = 1;; tries++) {
      try {
        await onBoundary?.(operation.kind, name, "before");
        await effect(context);
        await onBoundary?.(operation.kind, name, "after");
        return null;
      } catch (error) {
        if (context.signal.aborted) return null;
        onFailure?.(operation.kind, context.machineId, name, error);
        const giveUp = operation.onFailure === "undo" || tries >= (step.triesMax ?? STEP_TRIES_MAX);
        if (giveUp) return asGodwitError(operation.kind, context.machineId, step.name, error);
        await pause(backoffMs(RETRY, tries, random), context.signal);
        if (context.signal.aborted) return null;
      }
    }
  }

  async #settle(
    operation: Operation,
    row: OperationRow,
    signal: AbortSignal,
    end: () => void,
    error: Outcome,
  ): Promise<Outcome> {
    const { store, onBoundary } = this.#options;
    await onBoundary?.(operation.kind, SETTLE, "before");
    if (signal.aborted) return superseded(operation.kind, row.machine_id);
    store.write(() => {
      end();
      setStatus(store, row.id, error === null ? "done" : "failed", error);
    });
    await onBoundary?.(operation.kind, SETTLE, "after");
    return error;
  }

  #contextOf(row: OperationRow, signal: AbortSignal): RunContext {
    const { store } = this.#options;
    const memory = { ...row.memory };
    let hasNotes = false;
    return {
      machineId: row.machine_id,
      input: row.input,
      memory,
      signal,
      remember: (found) => {
        Object.assign(memory, found);
        store.write(() => setMemory(store, row.id, memory));
      },
      note: (found) => {
        Object.assign(memory, found);
        hasNotes = true;
      },
      keepNotes: () => {
        if (hasNotes) setMemory(store, row.id, memory);
        hasNotes = false;
      },
    };
  }
}

function superseded(kind: Kind, machineId: string): GodwitError {
  return new GodwitError(
    "operation.superseded",
    `Did not finish to ${kind} machine ${machineId}: another request took its place, or the agent left`,
    { fault: "client", retryable: true, hint: "ask for the machine's state" },
  );
}

function asGodwitError(kind: Kind, machineId: string, step: string, error: unknown): GodwitError {
  if (error instanceof GodwitError) return error;
  return new GodwitError(
    "worker.step_failed",
    `Cannot ${kind} machine ${machineId}: step ${step} failed: ${messageOf(error)}`,
    { fault: "us", retryable: true, hint: "the worker's log has the details", cause: error },
  );
}
