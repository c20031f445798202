/**
 * The containers-registries.conf(5) that skopeo is given instead of the host's own: which mirrors are asked before a
 * registry, and nothing else.
 */
import type { WorkerConfig } from "../../contract/process-config.ts";

export function registriesConf(
  { mirrors, insecure_registries }: Pick<WorkerConfig["images"], "mirrors" | "insecure_registries">,
): string {
  const tables = Object.entries(mirrors ?? {}).flatMap(([registry, places]) => [
    "[[registry]]",
    `location = ${quoted(registry)}`,
    `insecure = ${insecure_registries.includes(registry)}`,
    ...places.flatMap((place) => [
      "[[registry.mirror]]",
      `location = ${quoted(place)}`,
      `insecure = ${insecure_registries.includes(place.split("/")[0] ?? "")}`,
    ]),
  ]);
  return ["unqualified-search-registries = []", 'short-name-mode = "disabled"', ...tables, ""].join("\n");
}

/** A basic string of TOML 1.0; names of registries have no control characters. */
function quoted(text: string): string {
  return JSON.stringify(text);
}
