/**
 * The edge beside nginx, HAProxy and Caddy: one worker each, the same backend, the same clients, alternating rounds, with
 * access logs and without. README.md here says how each proxy is set up and how the figures read.
 */
import { parseArgs } from "node:util";
import { GodwitError } from "../../control/contract/errors.ts";
import { installMissing } from "../setup/install.ts";
import type { Bench } from "./bench.ts";
import { wholeNumber } from "./options.ts";
import { refuseBesideLoad } from "./relay/busy.ts";
import { chosenCases, type RelayCase, SMALL_GET } from "./relay/cases.ts";
import { type CaseMeasure, type Contestant, measureCase, type MeasureOptions } from "./relay/measure-case.ts";
import { profileEdge } from "./relay/profile.ts";
import { PROXY_NAMES, type ProxyName } from "./relay/proxy.ts";
import { type CaseReport, describeReport, reportCase } from "./relay/report.ts";
import { type Testbed, withTestbed } from "./relay/testbed.ts";
import { verify } from "./relay/verify.ts";
import { median } from "./rounds.ts";

const ROUNDS_DEFAULT = 5;
const SECONDS_DEFAULT = 4;
const HOSTS_DEFAULT = 100_000;

const OPTIONS = {
  cases: { type: "string" },
  rounds: { type: "string" },
  seconds: { type: "string" },
  hosts: { type: "string" },
  proxies: { type: "string" },
  pin: { type: "boolean" },
  profile: { type: "boolean" },
  "beside-load": { type: "boolean" },
} as const;

export const bench: Bench = {
  summary: "the edge's relay over nginx and HAProxy, one worker each",
  async run(argv, say) {
    const { values } = parseArgs({ args: argv, options: OPTIONS });
    const options = {
      rounds: wholeNumber("rounds", values.rounds, ROUNDS_DEFAULT),
      seconds: wholeNumber("seconds", values.seconds, SECONDS_DEFAULT),
      hosts: wholeNumber("hosts", values.hosts, HOSTS_DEFAULT),
      cases: chosenCases(values.cases ?? null),
      proxies: chosenProxies(values.proxies ?? null),
      pin: values.pin ?? false,
    };
    await installMissing({ forCheck: false, forBench: true, mayInstall: true, say });
    const busy = await refuseBesideLoad(values["beside-load"] ?? false);
    if (values.profile === true) return { ...await profileEdge(options, say), busy_percent: busy };
    const cases = await withTestbed(options, (testbed) => measure(testbed, options, say));
    const ratio = cases[SMALL_GET.name]?.ratio ?? null;
    return { ...(ratio === null ? {} : { ratio }), cases, ...configurationOf(options), busy_percent: busy };
  },
};

interface Options {
  readonly rounds: number;
  readonly seconds: number;
  readonly hosts: number;
  readonly cases: readonly RelayCase[];
  readonly proxies: readonly ProxyName[];
  readonly pin: boolean;
}

function configurationOf({ rounds, seconds, hosts, pin }: Options) {
  return { rounds, seconds, hosts, pinned: pin };
}

function chosenProxies(names: string | null): readonly ProxyName[] {
  if (names === null) return PROXY_NAMES;
  return names.split(",").map((name) => {
    const found = PROXY_NAMES.find((proxy) => proxy === name);
    if (found !== undefined) return found;
    throw new GodwitError("bench.invalid_option", `--proxies: there is no proxy ${name}`, {
      fault: "client",
      hint: `there are: ${PROXY_NAMES.join(", ")}`,
    });
  });
}

async function measure(testbed: Testbed, options: Options, say: (line: string) => void) {
  const contestants = await startAll(testbed, options.proxies, say);
  const { rounds, seconds } = options;
  const measureOptions: MeasureOptions = {
    rounds,
    seconds,
    prefix: testbed.clientPrefix,
    halfRate: () => halfRate(),
    say,
  };
  let saturation: Promise<CaseMeasure> | null = null;
  const reports: Record<string, CaseReport> = {};
  for (const one of options.cases) {
    say(`\n${one.name}`);
    const measured = measureCase(one, contestants, measureOptions);
    if (one === SMALL_GET) saturation = measured;
    const found = reportCase(one, await measured);
    Object.assign(reports, found);
    for (const [name, report] of Object.entries(found)) describeReport(name, report).forEach(say);
  }
  return reports;

  /** Half of the slowest of those that are compared; Caddy would set a rate that tests nobody. */
  async function halfRate(): Promise<number> {
    saturation ??= measureCase(SMALL_GET, contestants, {
      ...measureOptions,
      rounds: 1,
      seconds: 1,
      say: () => {},
    });
    const { logs } = await saturation;
    const rates = [...logs].filter(([name]) => name !== "caddy" || logs.size === 1).map(([, { figures }]) =>
      median(figures[0]!)
    );
    return Math.round(Math.min(...rates) / 2);
  }
}

async function startAll(
  testbed: Testbed,
  names: readonly ProxyName[],
  say: (line: string) => void,
): Promise<Contestant[]> {
  const contestants: Contestant[] = [];
  for (const name of names) {
    for (const logs of name === "caddy" ? [true] : [true, false]) {
      const proxy = await testbed.start(name, logs);
      await verify(proxy);
      contestants.push({ proxy, logs, startFresh: () => testbed.start(name, logs) });
    }
  }
  say(`verified: ${names.join(", ")} answer alike and log a line a request`);
  return contestants;
}
