/** Medians of a case, side by side; ratios are made so that 1 is a draw and more is better for the edge. */
import { median } from "../rounds.ts";
import type { Reading, RelayCase } from "./cases.ts";
import type { CaseFigures, CaseMeasure } from "./measure-case.ts";
import { PROXY_NAMES, type ProxyName } from "./proxy.ts";

/** Caddy stands beside for reference and is nobody's measure. */
const PEERS: readonly ProxyName[] = ["nginx", "haproxy"];

export interface CaseReport {
  readonly unit: string;
  readonly better: "higher" | "lower";
  readonly godwit: number | null;
  readonly best_peer: number | null;
  readonly best_peer_name: string | null;
  readonly ratio: number | null;
  readonly ratio_nolog: number | null;
  readonly medians: Partial<Record<ProxyName, number>>;
  readonly medians_nolog: Partial<Record<ProxyName, number>>;
  readonly cpu_us_per_request: Partial<Record<ProxyName, number>>;
  readonly cpu_us_per_request_nolog: Partial<Record<ProxyName, number>>;
  /** Per proxy, only where there were any. */
  readonly failures?: Partial<Record<ProxyName, number>>;
  readonly unlogged?: Partial<Record<ProxyName, number>>;
}

/** One entry for each reading of the case. */
export function reportCase(one: RelayCase, measure: CaseMeasure): Record<string, CaseReport> {
  return Object.fromEntries(
    one.readings.map((reading, index) => [reading.name, reportReading(reading, index, measure)]),
  );
}

function reportReading(reading: Reading, index: number, measure: CaseMeasure): CaseReport {
  const { logs, nolog } = measure;
  const medians = medianOf(logs, ({ figures }) => figures[index]!);
  const mediansNolog = medianOf(nolog, ({ figures }) => figures[index]!);
  const best = bestPeer(medians, reading);
  const failures = countsOf([logs, nolog], ({ failures }) => failures);
  const unlogged = countsOf([logs], ({ unlogged }) => unlogged);
  return {
    unit: reading.unit,
    better: reading.better,
    godwit: medians.godwit ?? null,
    best_peer: best === null ? null : medians[best]!,
    best_peer_name: best,
    ratio: ratioOf(medians, reading),
    ratio_nolog: ratioOf(mediansNolog, reading),
    medians,
    medians_nolog: mediansNolog,
    cpu_us_per_request: medianOf(logs, ({ cpuUsPerRequest }) => cpuUsPerRequest),
    cpu_us_per_request_nolog: medianOf(nolog, ({ cpuUsPerRequest }) => cpuUsPerRequest),
    ...(Object.keys(failures).length > 0 ? { failures } : {}),
    ...(Object.keys(unlogged).length > 0 ? { unlogged } : {}),
  };
}

type ByProxy = Partial<Record<ProxyName, number>>;

function medianOf(measured: Map<ProxyName, CaseFigures>, read: (of: CaseFigures) => number[]): ByProxy {
  const found: ByProxy = {};
  for (const name of PROXY_NAMES) {
    const of = measured.get(name);
    if (of !== undefined) found[name] = round(median(read(of)));
  }
  return found;
}

function countsOf(all: readonly Map<ProxyName, CaseFigures>[], read: (of: CaseFigures) => number): ByProxy {
  const found: ByProxy = {};
  for (const measured of all) {
    for (const [name, of] of measured) if (read(of) > 0) found[name] = (found[name] ?? 0) + read(of);
  }
  return found;
}

function bestPeer(medians: ByProxy, { better }: Reading): ProxyName | null {
  let best: ProxyName | null = null;
  for (const name of PEERS) {
    const figure = medians[name];
    if (figure === undefined) continue;
    const than = best === null ? null : medians[best]!;
    if (than === null || (better === "higher" ? figure > than : figure < than)) best = name;
  }
  return best;
}

function ratioOf(medians: ByProxy, reading: Reading): number | null {
  const best = bestPeer(medians, reading);
  const ours = medians.godwit;
  if (best === null || ours === undefined) return null;
  const peers = medians[best]!;
  return round(reading.better === "higher" ? ours / peers : peers / ours);
}

function round(figure: number): number {
  return Number(figure.toPrecision(4));
}

export function describeReport(name: string, report: CaseReport): string[] {
  const line = (label: string, figures: ByProxy, cpu: ByProxy, ratio: number | null) => {
    const columns = PROXY_NAMES.filter((proxy) => figures[proxy] !== undefined).map((proxy) =>
      `${proxy} ${figures[proxy]} (${cpu[proxy]} µs)`
    );
    return `  ${label.padEnd(9)}${columns.join("  ")}  ratio ${ratio ?? "none"}`;
  };
  const { medians, medians_nolog, cpu_us_per_request, cpu_us_per_request_nolog } = report;
  const lines = [`${name}: ${report.unit}, ${report.better} is better (CPU time per request)`];
  lines.push(line("logs", medians, cpu_us_per_request, report.ratio));
  if (Object.keys(medians_nolog).length > 0) {
    lines.push(line("no logs", medians_nolog, cpu_us_per_request_nolog, report.ratio_nolog));
  }
  if (report.failures !== undefined) lines.push(`  failures: ${JSON.stringify(report.failures)}`);
  if (report.unlogged !== undefined) {
    lines.push(`  requests without a line: ${JSON.stringify(report.unlogged)}`);
  }
  return lines;
}
