/** Where the edge's time goes under the small GET: Bun's sampling profiler (`--cpu-prof`), the functions by self time. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { runWrk } from "./load.ts";
import { APP_HOST } from "./proxy.ts";
import { withTestbed } from "./testbed.ts";

const WARM_UP_S = 2;
const FUNCTIONS_SHOWN = 30;

/** https://chromedevtools.github.io/devtools-protocol/tot/Profiler/#type-Profile */
export interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  }[];
  readonly samples: readonly number[];
  /** Microseconds between samples. */
  readonly timeDeltas: readonly number[];
}

export interface SelfTime {
  readonly where: string;
  readonly share: number;
}

/**
 * The functions that were on top of the stack, most often first.
 * @param lastS only the end of the profile: its beginning is the start of the process
 */
export function selfTimes(profile: CpuProfile, lastS = Infinity): SelfTime[] {
  const nodes = new Map(profile.nodes.map((node) => [node.id, node.callFrame]));
  const times = new Map<string, number>();
  let total = 0;
  let leftUs = profile.timeDeltas.reduce((sum, us) => sum + us, 0);
  profile.samples.forEach((id, index) => {
    const us = profile.timeDeltas[index] ?? 0;
    leftUs -= us;
    if (leftUs > lastS * 1_000_000) return;
    const frame = nodes.get(id);
    if (frame === undefined || frame.functionName === "(idle)" || frame.functionName === "(root)") return;
    const file = frame.url.replace(/^.*\/(edge|control|node_modules)\//, "$1/");
    const where = `${frame.functionName || "(anonymous)"}  ${file}${
      file === "" ? "" : `:${frame.lineNumber + 1}`
    }`;
    times.set(where, (times.get(where) ?? 0) + us);
    total += us;
  });
  return [...times].map(([where, us]) => ({ where, share: us / total })).sort((a, b) => b.share - a.share);
}

export async function profileEdge(
  options: { readonly seconds: number; readonly hosts: number; readonly pin: boolean },
  say: (line: string) => void,
) {
  return await withTestbed({ ...options, profile: true }, async (testbed) => {
    const proxy = await testbed.start("godwit", true);
    const load = (seconds: number) =>
      runWrk(testbed.clientPrefix, {
        url: `${proxy.httpUrl}/small`,
        host: APP_HOST,
        connections: 64,
        seconds,
      });
    await load(WARM_UP_S);
    const { requests, seconds } = await load(options.seconds);
    await proxy.stop();
    const file = readdirSync(proxy.plan.folder).find((name) => name.endsWith(".cpuprofile"));
    if (file === undefined) throw new Error(`the runtime wrote no profile into ${proxy.plan.folder}`);
    const times = selfTimes(
      JSON.parse(readFileSync(join(proxy.plan.folder, file), "utf8")) as CpuProfile,
      options.seconds,
    );
    say(`${Math.round(requests / seconds)} requests/s with the profiler on; self time:`);
    const shown = times.slice(0, FUNCTIONS_SHOWN);
    for (const { where, share } of shown) say(`${(share * 100).toFixed(1).padStart(6)} %  ${where}`);
    return {
      profile: shown.map(({ where, share }) => ({ where, share: Math.round(share * 10_000) / 10_000 })),
    };
  });
}
