/** Options that a replicator alone and a stream relay have in common. */
import type { GodwitError } from "../../control/contract/errors.ts";
import { RegionCode } from "../../control/contract/names.ts";
import { type AddressPort, isLoopback, readAddressPort } from "../standalone/address-port.ts";

const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"];
const REGIONS_MAX = 64;

/** Where the admin pages are: a unix socket, or loopback. */
export type AdminPlace = AddressPort | { readonly socket: string };
type Invalid = (what: string) => GodwitError;

export function readAdminPlace(text: string | undefined, invalid: Invalid): AdminPlace | null {
  if (text === undefined) return null;
  if (text.startsWith("/")) return { socket: text };
  const at = readAddressPort(text);
  if (at === null) throw invalid(`--admin ${text} is neither ADDRESS:PORT nor the absolute path of a socket`);
  if (isLoopback(at.address)) return at;
  throw invalid(`--admin ${at.address} is not a loopback address; its pages have no password`);
}

/** @returns none where all are meant */
export function readRegions(text: string | undefined, invalid: Invalid): string[] {
  const regions = RegionCode.array().max(REGIONS_MAX).safeParse(text?.split(",") ?? []);
  if (!regions.success) throw invalid(`--regions ${text}: ${regions.error.issues[0]?.message}`);
  return regions.data;
}

export function readLogLevel(text: string | undefined, invalid: Invalid): string {
  const level = text ?? "info";
  if (!LOG_LEVELS.includes(level)) throw invalid(`--log-level ${level} is none of ${LOG_LEVELS.join(", ")}`);
  return level;
}
