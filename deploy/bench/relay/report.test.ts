import { expect, test } from "bun:test";
import { CASES, chosenCases } from "./cases.ts";
import type { CaseFigures, CaseMeasure } from "./measure-case.ts";
import type { ProxyName } from "./proxy.ts";
import { reportCase } from "./report.ts";

const figures = (...rounds: number[][]): CaseFigures => ({
  figures: rounds,
  cpuUsPerRequest: [20, 30, 10],
  failures: 0,
  unlogged: 0,
});
const measured = (of: Partial<Record<ProxyName, CaseFigures>>) =>
  new Map(Object.entries(of) as [ProxyName, CaseFigures][]);

test("reportCase() compares medians with the better of nginx and HAProxy, Caddy apart", () => {
  const measure: CaseMeasure = {
    logs: measured({
      godwit: figures([110, 100, 90]),
      nginx: figures([50, 80, 60]),
      haproxy: figures([70, 80, 90]),
      caddy: figures([500, 500, 500]),
    }),
    nolog: measured({ godwit: figures([90]), nginx: figures([100]) }),
  };
  const report = reportCase(chosenCases("small_get")[0]!, measure).small_get!;
  expect(report).toMatchObject({
    godwit: 100,
    best_peer: 80,
    best_peer_name: "haproxy",
    ratio: 1.25,
    ratio_nolog: 0.9,
  });
  expect(report.cpu_us_per_request.godwit).toBe(20);
  expect(report.failures).toBeUndefined();
});

test("reportCase() turns ratios round where less is better, and compares nothing where the edge was left out", () => {
  const latency = chosenCases("latency")[0]!;
  const peers = { nginx: figures([1], [4]), haproxy: figures([2], [3]) };
  const measure = {
    logs: measured({ godwit: figures([2], [2]), ...peers }),
    nolog: new Map(),
  };
  expect(reportCase(latency, measure).latency_p50).toMatchObject({ best_peer_name: "nginx", ratio: 0.5 });
  expect(reportCase(latency, measure).latency_p99).toMatchObject({ best_peer_name: "haproxy", ratio: 1.5 });
  const without = reportCase(latency, { logs: measured(peers), nolog: new Map() });
  expect(without.latency_p50).toMatchObject({ godwit: null, best_peer: 1, ratio: null });
});

test("chosenCases() knows its cases by name", () => {
  expect(chosenCases(null)).toBe(CASES);
  expect(() => chosenCases("small_get,none")).toThrow("there is no case none");
});
