/** A failure as `godwit` tells it: to people on stderr, or as `{"error": …}` on stdout with --json. */
import { GodwitError, messageOf, type WireError } from "../contract/errors.ts";

export function wireOf(error: unknown): WireError {
  if (error instanceof GodwitError) return error.toWire();
  return { code: "cli.bug", fault: "us", retryable: false, message: messageOf(error), hint: null };
}

export function renderError(error: unknown): string {
  const { message, hint, code } = wireOf(error);
  return [`Error: ${message}`, ...(hint === null ? [] : [`  → ${hint}`]), `  (${code})`].join("\n");
}
