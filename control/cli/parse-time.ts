/** A time in the past, as people write it: RFC 3339 (`2026-11-28T19:34:05Z`), or `5m ago`, with s, m, h or d. */
import { GodwitError } from "../contract/errors.ts";

const UNIT_MS: Record<string, number> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const RFC_3339 = /^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:[Zz]|[+-]\d{2}:\d{2})$/;

/** @returns milliseconds since 1970 @throws GodwitError `cli.time` */
export function parseTime(text: string, nowMs: number): number {
  const [, count, unit] = /^(\d{1,9})\s*([smhd])(?:\s+ago)?$/.exec(text.trim()) ?? [];
  const at = count !== undefined
    ? nowMs - Number(count) * UNIT_MS[unit!]!
    : RFC_3339.test(text)
    ? Date.parse(text)
    : NaN;
  if (at >= 0 && at <= nowMs) return at;
  throw new GodwitError("cli.time", `${JSON.stringify(text)} is not a time in the past`, {
    fault: "client",
    hint: 'for example 2026-11-28T19:34:05Z, or "5m ago" with s, m, h or d',
  });
}
