/**
 * The one error type of Godwit. A failure that somebody can meet carries a stable code, whose fault it is, whether
 * trying again is safe, and what to do next. Broken invariants are not GodwitErrors: they are assertions (`assert`).
 *
 * Codes are dotted `noun.what_happened`; the part before the dot is the folder or noun that raises it. A code is
 * part of the public surface: it is never renamed, and each has a line in `control/contract/ERRORS.md`.
 */
import { z } from "zod";

/** Who must act: the caller, the app that was deployed, or whoever operates Godwit. */
export const Fault = z.enum(["client", "app", "us"]);
export type Fault = z.infer<typeof Fault>;

/** How an error travels in JSON. HTTP bodies carry it as `{"error": WireError}`, GraphQL under `extensions`. */
export const WireError = z.object({
  code: z.string().regex(/^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$/).max(80),
  fault: Fault,
  retryable: z.boolean(),
  message: z.string().max(4_096),
  hint: z.string().max(1_024).nullable(),
});
export type WireError = z.infer<typeof WireError>;

export interface GodwitErrorOptions {
  readonly fault: Fault;
  /** True only where the place that raises it knows that nothing was done or that doing it again is harmless. */
  readonly retryable?: boolean;
  /** What to do next, one sentence. */
  readonly hint?: string;
  readonly cause?: unknown;
}

export class GodwitError extends Error {
  override readonly name = "GodwitError";
  readonly code: string;
  readonly fault: Fault;
  readonly retryable: boolean;
  readonly hint: string | null;

  constructor(code: string, message: string, options: GodwitErrorOptions) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.fault = options.fault;
    this.retryable = options.retryable ?? false;
    this.hint = options.hint ?? null;
  }

  toWire(): WireError {
    return {
      code: this.code,
      fault: this.fault,
      retryable: this.retryable,
      message: this.message.slice(0, 4_096),
      hint: this.hint?.slice(0, 1_024) ?? null,
    };
  }

  static fromWire(wire: WireError): GodwitError {
    return new GodwitError(wire.code, wire.message, {
      fault: wire.fault,
      retryable: wire.retryable,
      ...(wire.hint === null ? {} : { hint: wire.hint }),
    });
  }
}

/** A broken invariant. Stays on in production; never used for something that input or the outside can cause. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`Invariant broken: ${message}`);
}

/** The message of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
