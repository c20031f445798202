/** One case over all proxies: a warm-up each, then alternating rounds, CPU time and log lines beside the figures. */
import { GodwitError } from "../../../control/contract/errors.ts";
import { alternate } from "../rounds.ts";
import type { RelayCase, RunContext } from "./cases.ts";
import type { Proxy, ProxyName } from "./proxy.ts";
import { expectLogLines } from "./verify.ts";

const WARM_UP_S = 1;

/** A running proxy, as one case of one logging mode measures it. */
export interface Contestant {
  readonly proxy: Proxy;
  readonly logs: boolean;
  readonly startFresh: () => Promise<Proxy>;
}

/** What all rounds of one contestant gave. */
export interface CaseFigures {
  /** By reading, then by round. */
  readonly figures: number[][];
  readonly cpuUsPerRequest: number[];
  failures: number;
  /** Requests that the access log has no line for. */
  unlogged: number;
}

export interface CaseMeasure {
  readonly logs: Map<ProxyName, CaseFigures>;
  readonly nolog: Map<ProxyName, CaseFigures>;
}

export interface MeasureOptions {
  readonly rounds: number;
  readonly seconds: number;
  readonly prefix: readonly string[];
  readonly halfRate: () => Promise<number>;
  readonly say: (line: string) => void;
}

export async function measureCase(
  one: RelayCase,
  contestants: readonly Contestant[],
  options: MeasureOptions,
): Promise<CaseMeasure> {
  const measure: CaseMeasure = { logs: new Map(), nolog: new Map() };
  const taking = contestants.filter(({ logs }) => logs || one.withoutLogs);
  for (const contestant of taking) {
    contestant.proxy.emptyLog();
    await one.run(contextOf(contestant, { ...options, seconds: WARM_UP_S }));
  }
  await alternate(
    options.rounds,
    taking.map((contestant) => ({
      name: `${contestant.proxy.name}${contestant.logs ? "" : " nolog"}`,
      run: () => runOnce(one, contestant, measure, options),
    })),
    (round, name, figure) =>
      options.say(`  round ${round + 1}  ${name.padEnd(13)}  ${figure.toPrecision(5)}`),
  );
  return measure;
}

function contextOf(contestant: Contestant, options: MeasureOptions): RunContext {
  const { proxy, startFresh } = contestant;
  return { proxy, startFresh, seconds: options.seconds, prefix: options.prefix, halfRate: options.halfRate };
}

/** @returns the figure of the first reading, for people to watch */
async function runOnce(
  one: RelayCase,
  contestant: Contestant,
  measure: CaseMeasure,
  options: MeasureOptions,
): Promise<number> {
  const { proxy, logs } = contestant;
  proxy.emptyLog();
  const before = proxy.usage();
  const run = await one.run(contextOf(contestant, options));
  const cpuMs = proxy.usage().cpuMs - before.cpuMs;
  if (run.requests === 0) {
    throw new GodwitError("bench.no_requests", `${proxy.name} answered no request of ${one.name}`, {
      fault: "us",
    });
  }
  const kept = logs ? measure.logs : measure.nolog;
  let all = kept.get(proxy.name);
  if (all === undefined) {
    all = { figures: one.readings.map(() => []), cpuUsPerRequest: [], failures: 0, unlogged: 0 };
    kept.set(proxy.name, all);
  }
  run.figures.forEach((figure, reading) => all.figures[reading]!.push(figure));
  all.cpuUsPerRequest.push(cpuMs * 1_000 / run.requests);
  all.failures += run.failures;
  if (logs) all.unlogged += Math.max(0, run.logLines - await expectLogLines(proxy, run.logLines));
  return run.figures[0]!;
}
