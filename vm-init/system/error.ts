/**
 * vm-init's own errors. The project's GodwitError comes with zod, which PID 1 of every VM cannot afford (see
 * control/contract/guest-limits.ts); nothing here leaves the guest but as words in `status.failure`.
 */
import { getSystemErrorMap } from "node:util";

/** Something that was asked for cannot be done; the message says what, to what, and why. */
export class BootError extends Error {
  override readonly name = "BootError";
}

/** A system call that the kernel refused. */
export class SystemError extends Error {
  override readonly name = "SystemError";
  /** The kernel's name of the error, `ENOENT`. */
  readonly code: string;

  constructor(call: string, errno: number) {
    const [code, words] = getSystemErrorMap().get(-errno) ?? [`errno ${errno}`, "unknown error"];
    super(`${call}: ${words} (${code})`);
    this.code = code;
  }
}

/** A broken invariant: PID 1 says so and powers off. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`Invariant broken: ${message}`);
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

export function codeOf(error: unknown): string | null {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : null;
}
