/** Options of benchmarks that are numbers. */
import { GodwitError } from "../../control/contract/errors.ts";

/** Throws `bench.invalid_option` where the text is no whole number from 1. */
export function wholeNumber(name: string, text: string | undefined, otherwise: number): number {
  const number = Number(text ?? otherwise);
  if (Number.isInteger(number) && number >= 1) return number;
  throw new GodwitError("bench.invalid_option", `--${name} must be a whole number from 1, not ${text}`, {
    fault: "client",
  });
}
