/** What a durable operation is made of. The engine runs these; `create.ts`, `start.ts`, … say what they do. */
import type { GodwitError } from "../../contract/errors.ts";

export interface StepContext {
  readonly machineId: string;
  /** What the operation was asked with. */
  readonly input: unknown;
  /** What earlier steps have put by, also before a restart of the agent. */
  readonly memory: Readonly<Record<string, unknown>>;
  /** Puts something by, durably. */
  remember(found: Record<string, unknown>): void;
  /** The same, durable with the operation's next write: for what a crash before that may forget. */
  note(found: Record<string, unknown>): void;
  /** Aborted when another operation supersedes this one, or the agent leaves. Long waits end on it. */
  readonly signal: AbortSignal;
}

/** Every step can be repeated: after a crash the one that was intended last runs again, whether or not it had run. */
export interface Step {
  readonly name: string;
  /** Where an operation retries: after so many tries it fails. @default STEP_TRIES_MAX */
  readonly triesMax?: number;
  run(context: StepContext): Promise<void>;
  /** Takes back what `run` did, all or part of it. */
  undo?(context: StepContext): Promise<void>;
}

export type Kind = "create" | "start" | "suspend" | "stop" | "destroy";

export interface Operation {
  readonly kind: Kind;
  readonly steps: readonly Step[];
  /** `undo`: a failing step is taken back with all before it. `retry`: the only way is forward. */
  readonly onFailure: "undo" | "retry";
  /** After a restart: `first` where the world may have changed under finished steps (a reboot takes VMs along). */
  readonly resumeAt: "first" | "intended";
  /** Operations of the lane `boot` keep a core busy; fewer of them run at once. */
  readonly lane: "boot" | "ordinary";
  /** In the transaction that ends the operation well. */
  done(context: StepContext): void;
  /** In the transaction that ends it when all is undone, or when retrying was given up. */
  failed(context: StepContext, error: GodwitError): void;
}

/** Where the engine stands. Tests kill the process exactly here; steps being undone are named `undo-STEP`. */
export type Boundary = (kind: Kind, step: string, when: "before" | "after") => void | Promise<void>;
/** The transaction that ends an operation is a boundary too, under this name. */
export const SETTLE = "settle";
