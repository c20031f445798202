/**
 * For tests: reads a metrics page as strictly as Prometheus' text format 0.0.4 is written down, and stricter where
 * Prometheus would take what is plainly wrong (a family in two places, a histogram that falls).
 */
export interface Family {
  readonly help: string;
  readonly type: string;
  readonly samples: { name: string; labels: Record<string, string>; value: number }[];
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(,|$)/y;
const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/;

/** @throws Error that names the line */
export function readExposition(page: string): Map<string, Family> {
  const families = new Map<string, Family>();
  const series = new Set<string>();
  let current: { name: string; family: Family } | null = null;
  let help: { name: string; text: string } | null = null;
  if (!page.endsWith("\n")) throw new Error("the last line has no end");
  page.slice(0, -1).split("\n").forEach((line, at) => {
    const fail = (why: string): never => {
      throw new Error(`line ${at + 1}: ${why}: ${line}`);
    };
    if (line === "") return;
    if (line.startsWith("# HELP ")) {
      const [name = "", ...words] = line.slice(7).split(" ");
      if (words.join(" ").trim() === "") fail("the help says nothing");
      help = { name, text: words.join(" ") };
      return;
    }
    if (line.startsWith("# TYPE ")) {
      const [name = "", type = "", ...more] = line.slice(7).split(" ");
      if (!NAME.test(name) || more.length > 0) fail("not a type line");
      if (!["counter", "gauge", "histogram", "summary", "untyped"].includes(type)) fail("no such type");
      if (help?.name !== name) fail("no help before it");
      if (families.has(name)) fail("the family is there already");
      current = { name, family: { help: help!.text, type, samples: [] } };
      families.set(name, current.family);
      return;
    }
    const match = SAMPLE.exec(line);
    if (match === null || current === null) return fail("neither comment nor sample of a family");
    const [, name = "", labelText = "", valueText = ""] = match;
    const suffix = name.startsWith(current.name)
      ? name.slice(current.name.length)
      : fail("not of the family");
    const allowed = current.family.type === "histogram" ? ["_bucket", "_sum", "_count"] : [""];
    if (!allowed.includes(suffix)) fail("not of the family");
    const labels: Record<string, string> = {};
    LABEL.lastIndex = 0;
    while (LABEL.lastIndex < labelText.length) {
      const label = LABEL.exec(labelText);
      if (label === null) return fail("not labels");
      if (label[1]! in labels) fail("a label twice");
      labels[label[1]!] = label[2]!;
    }
    const value = valueText === "+Inf" ? Infinity : Number(valueText);
    if (Number.isNaN(value)) fail("not a number");
    if (current.family.type !== "gauge" && value < 0) fail("less than nothing");
    const key = `${name}${JSON.stringify(Object.entries(labels).sort())}`;
    if (series.has(key)) fail("the series is there already");
    series.add(key);
    current.family.samples.push({ name, labels, value });
  });
  for (const [name, family] of families) if (family.type === "histogram") checkHistogram(name, family);
  return families;
}

function checkHistogram(name: string, { samples }: Family): void {
  const groups = new Map<string, Family["samples"]>();
  for (const sample of samples) {
    const { le: _, ...labels } = sample.labels;
    const key = JSON.stringify(Object.entries(labels).sort());
    groups.set(key, [...groups.get(key) ?? [], sample]);
  }
  for (const [labels, group] of groups) {
    const fail = (why: string) => {
      throw new Error(`histogram ${name} ${labels}: ${why}`);
    };
    const buckets = group.filter((sample) => sample.name === `${name}_bucket`);
    const [sum, ...sums] = group.filter((sample) => sample.name === `${name}_sum`);
    const [count, ...counts] = group.filter((sample) => sample.name === `${name}_count`);
    if (sum === undefined || count === undefined || sums.length + counts.length > 0) {
      fail("not one sum and count");
    }
    let bound = -Infinity, below = 0;
    for (const { labels: { le }, value } of buckets) {
      const next = le === "+Inf" ? Infinity : Number(le ?? "none");
      if (!(next > bound)) fail(`its bounds do not rise at ${le}`);
      if (value < below) fail(`it falls at ${le}`);
      bound = next;
      below = value;
    }
    if (bound !== Infinity) fail("no bucket for all");
    if (below !== count!.value) fail("its last bucket is not its count");
  }
}

/** @returns the series' value; 0 where it is not there */
export function valueOf(
  families: Map<string, Family>,
  name: string,
  labels: Record<string, string> = {},
): number {
  const family = families.get(name) ?? families.get(name.replace(/_(bucket|sum|count)$/, ""));
  const found = family?.samples.find((sample) =>
    sample.name === name && Object.entries(labels).every(([label, value]) => sample.labels[label] === value)
  );
  return found?.value ?? 0;
}
