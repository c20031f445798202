/** What became of queries, for metrics: out of what a replica's page says under `queries`. Pure. */
const OUTCOMES = ["queries", "refused", "killed", "cut_off", "breaths"] as const;

/** Empty where queries are not answered. */
export function queryOutcomes(details: Readonly<Record<string, unknown>>): Record<string, number> {
  const { queries } = details;
  if (typeof queries !== "object" || queries === null) return {};
  const found: Record<string, number> = {};
  for (const outcome of OUTCOMES) {
    const count = (queries as Record<string, unknown>)[outcome];
    if (typeof count === "number") found[outcome === "queries" ? "taken" : outcome] = count;
  }
  return found;
}
