import { GodwitError } from "../contract/errors.ts";

const secondsOf: Record<string, number> = { s: 1, m: 60, h: 3_600, d: 86_400 };
/** Ten years. */
export const DURATION_S_MAX = 315_360_000;

/** Seconds of `45s`, `10m`, `12h`, `30d`. */
export function parseDuration(text: string): number {
  const match = /^([1-9][0-9]{0,9})([smhd])$/.exec(text);
  const seconds = match === null ? NaN : Number(match[1]) * (secondsOf[match[2] ?? ""] ?? NaN);
  if (Number.isNaN(seconds) || seconds > DURATION_S_MAX) {
    throw new GodwitError(
      "access.duration_invalid",
      `Cannot read the duration ${
        JSON.stringify(text.slice(0, 40))
      }: expected a number and one of s, m, h, d`,
      { fault: "client", hint: "For example 30d, at most 3650d." },
    );
  }
  return seconds;
}
