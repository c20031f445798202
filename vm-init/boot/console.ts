/** vm-init's own few lines on the console. Never the app's output, which may hold anything and has its own way. */
import { writeSync } from "node:fs";
import type { GuestStatus } from "../../control/contract/guest-api.ts";
import { BOOT_FAILURE_MARK } from "../../control/contract/guest-limits.ts";

const STDOUT = 1;

export function say(line: string): void {
  try {
    writeSync(STDOUT, `godwit-init: ${line}\n`);
  } catch {
    // A console that nobody holds any more is no reason to end a machine.
  }
}

export function sayFailure({ step, message }: NonNullable<GuestStatus["failure"]>): void {
  try {
    writeSync(STDOUT, `${BOOT_FAILURE_MARK} ${step}: ${message.replaceAll("\n", " ")}\n`);
  } catch {
    // As above; the control channel still tells it.
  }
}

export function stepsInWords(steps: GuestStatus["steps"]): string {
  return steps.map(({ step, ms, skipped }) => `${step} ${skipped === null ? ms : "-"}`).join(", ");
}
