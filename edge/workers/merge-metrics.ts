/** Several workers' expositions (https://prometheus.io/docs/instrumenting/exposition_formats) as one, by `worker` label. */

interface Family {
  readonly comments: string[];
  readonly samples: string[];
}

export function mergeMetrics(texts: ReadonlyMap<string, string>): string {
  const families = new Map<string, Family>();
  for (const [worker, text] of texts) {
    let family: Family | null = null;
    let first = false;
    for (const line of text.split("\n")) {
      if (line === "") continue;
      if (line.startsWith("#")) {
        const name = line.split(" ")[2] ?? "";
        first = !families.has(name) || (family !== null && family === families.get(name) && first);
        family = families.get(name) ?? { comments: [], samples: [] };
        families.set(name, family);
        if (first) family.comments.push(line);
      } else if (family !== null) {
        family.samples.push(labelled(line, worker));
      }
    }
  }
  let merged = "";
  for (const { comments, samples } of families.values()) merged += [...comments, ...samples, ""].join("\n");
  return merged;
}

/** The first label, since a sample's name ends at its first brace or space. */
function labelled(sample: string, worker: string): string {
  const end = sample.search(/[{ ]/);
  const label = `worker="${worker}"`;
  return sample[end] === "{"
    ? `${sample.slice(0, end)}{${label}${sample[end + 1] === "}" ? "" : ","}${sample.slice(end + 1)}`
    : `${sample.slice(0, end)}{${label}}${sample.slice(end)}`;
}
