/** Identifiers and names, with their alphabets and lengths. One place, used by every part and by the database. */
import { z } from "zod";

/** An app's name is a DNS label, because it becomes one: `APP.internal`, `APP.localhost`. */
export const AppName = z.string().regex(
  /^[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?$/,
  "an app name is 1 to 63 of a-z, 0-9 and -, starts with a letter and does not end with -",
);
export const OrgSlug = AppName;
/** Region codes are the reference's: three letters. */
export const RegionCode = z.string().regex(/^[a-z]{3}$/, "a region code is three letters a-z");
/** A machine's id: 14 hexadecimal digits, 56 random bits, stable over all its versions. */
export const MachineId = z.string().regex(/^[0-9a-f]{14}$/, "a machine id is 14 hexadecimal digits");
/** Row ids that people do not type: 20 hexadecimal digits. */
export const RowId = z.string().regex(/^[0-9a-f]{20}$/);
export const HostId = z.string().regex(/^[a-z0-9][a-z0-9-]{0,39}$/);
/** A DNS name without its trailing dot, lower case, at most 253 characters (RFC 1035 section 2.3.4). */
export const Hostname = z.string().max(253).regex(
  /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/,
);
export const Digest = z.string().regex(/^sha256:[0-9a-f]{64}$/);
export const Port = z.number().int().min(1).max(65_535);
/** POSIX environment variable names. */
export const EnvName = z.string().max(256).regex(
  /^[A-Za-z_][A-Za-z0-9_]*$/,
  "an env name is letters, digits and _, and does not start with a digit",
);
/** At most 256 variables of 32 KiB each. */
export const Env = z.record(EnvName, z.string().max(32_768).refine((v) => !v.includes("\0"), "contains NUL"))
  .refine((env) => Object.keys(env).length <= 256, "at most 256 variables");
export type Env = z.infer<typeof Env>;

const hex = (bytes: Uint8Array) => Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");

export function newMachineId(random: (bytes: Uint8Array) => Uint8Array = (b) => crypto.getRandomValues(b)) {
  return hex(random(new Uint8Array(7)));
}
export function newRowId(random: (bytes: Uint8Array) => Uint8Array = (b) => crypto.getRandomValues(b)) {
  return hex(random(new Uint8Array(10)));
}
