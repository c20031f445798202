/**
 * Names for groups of regions, as the reference has them (section 1.5): `apac`, `eu`, `na`, `sa`, `us` or `usa`, `any`.
 * Region codes are those of nearby airports (IATA), so the list is of airports; a region that is not in it belongs to
 * `any` alone.
 */
const GROUPS: Readonly<Record<string, ReadonlySet<string>>> = {
  apac: new Set(["bom", "del", "hkg", "maa", "mel", "nrt", "sin", "syd"]),
  eu: new Set(["ams", "arn", "cdg", "fra", "lhr", "mad", "otp", "waw"]),
  na: new Set([
    ...["atl", "bos", "den", "dfw", "ewr", "gdl", "iad", "lax", "mia", "ord", "phx", "qro", "sea", "sjc"],
    ...["yul", "yyz"],
  ]),
  sa: new Set(["bog", "eze", "gig", "gru", "scl"]),
  us: new Set(["atl", "bos", "den", "dfw", "ewr", "iad", "lax", "mia", "ord", "phx", "sea", "sjc"]),
};

/** @param name a region's code or an alias, lower case */
export function regionMatches(name: string, region: string): boolean {
  if (name === region || name === "any") return true;
  const group = name === "usa" ? GROUPS.us : Object.hasOwn(GROUPS, name) ? GROUPS[name] : undefined;
  return group?.has(region) ?? false;
}
