/**
 * How long `true` takes in a machine, asked over the worker's API, beside `runc exec` of the same in the same container. Ours
 * is asked over a connection of HTTP and runs from an init that is there; the peer is a program that is started each time.
 */
import { parseArgs } from "node:util";
import { GodwitError } from "../../control/contract/errors.ts";
import type { MachineView } from "../../control/contract/machine.ts";
import type { ExecAnswer } from "../../control/contract/worker-api.ts";
import { remainsOf } from "../../control/worker/host.ts";
import { TestWorker } from "../../control/worker/testbed.fixture.ts";
import { runcPaths } from "../../control/worker/vmm/runc/runc-paths.ts";
import type { Bench } from "./bench.ts";
import { quoted } from "./hand-run.ts";
import { wholeNumber } from "./options.ts";
import { alternate, median, ratioOf } from "./rounds.ts";

const ROUNDS_DEFAULT = 7;
/** Of one round; its figure is their median. */
const CALLS_DEFAULT = 30;
const COMMAND = ["/bin/busybox", "true"];

export const bench: Bench = {
  summary: "`true` in a container over the worker's API, beside `runc exec`",
  async run(options, say) {
    const { values } = parseArgs({
      args: options,
      options: { rounds: { type: "string" }, calls: { type: "string" } },
    });
    const rounds = wholeNumber("rounds", values.rounds, ROUNDS_DEFAULT);
    const calls = wholeNumber("calls", values.calls, CALLS_DEFAULT);
    const worker = await TestWorker.create();
    try {
      await worker.start();
      await worker.pull();
      return await measure(worker, rounds, calls, say);
    } finally {
      await worker.remove();
    }
  },
};

async function measure(worker: TestWorker, rounds: number, calls: number, say: (line: string) => void) {
  const machineId = await startMachine(worker);
  const path = `/v1/machines/${machineId}/exec`;
  const body = { argv: COMMAND };
  const paths = runcPaths(remainsOf(worker.config, machineId));
  const byHand = ["runc", "--root", paths.state, "exec", machineId, ...COMMAND];
  const socket = worker.config.listen_socket;
  say(`\nplatform:  curl --unix-socket ${socket} http://worker${path} -d ${quoted(JSON.stringify(body))}`);
  say(`by hand:   ${byHand.map(quoted).join(" ")}`);
  const platform = async () => {
    const answer = await worker.call<ExecAnswer>("POST", path, body);
    if (answer.exit_code !== 0) throw failed(path, answer.exit_code, answer.stderr);
  };
  const hand = async () => {
    const child = Bun.spawn(byHand, { stdin: "ignore", stdout: "ignore", stderr: "pipe" });
    const status = await child.exited;
    if (status !== 0) throw failed("runc exec", status, await new Response(child.stderr).text());
  };
  // Once each before it counts: files are in the page cache, code is compiled.
  for (const warmUp of [platform, hand]) await medianOf(calls, warmUp);
  const figures = await alternate(rounds, [
    { name: "platform", run: () => medianOf(calls, platform) },
    { name: "by hand", run: () => medianOf(calls, hand) },
  ], (round, name, ms) => say(`round ${round + 1}  ${name.padEnd(8)}  ${ms.toFixed(2)} ms`));
  const [ours, peers] = [figures.get("platform")!, figures.get("by hand")!];
  say(`\nmedian: platform ${median(ours).toFixed(2)} ms, by hand ${median(peers).toFixed(2)} ms`);
  return {
    ratio: ratioOf(ours, peers),
    exec_ms: round2(median(ours)),
    hand_ms: round2(median(peers)),
    platform_ms: ours.map(round2),
    by_hand_ms: peers.map(round2),
    calls_a_round: calls,
  };
}

async function startMachine(worker: TestWorker): Promise<string> {
  const spec = worker.spec();
  await worker.call("PUT", `/v1/machines/${spec.id}`, spec);
  await worker.call("POST", `/v1/machines/${spec.id}/start`);
  const { state, reason }: MachineView = await worker.wait(spec.id, "started");
  if (state === "started") return spec.id;
  throw new GodwitError("bench.no_machine", `The machine did not start: ${reason ?? state}`, { fault: "us" });
}

async function medianOf(count: number, call: () => Promise<void>): Promise<number> {
  const figures: number[] = [];
  for (let n = 0; n < count; n++) {
    const from = performance.now();
    await call();
    figures.push(performance.now() - from);
  }
  return median(figures);
}

function failed(what: string, status: number, stderr: string): GodwitError {
  return new GodwitError("bench.child_failed", `${what} ended with ${status}: ${stderr.slice(0, 300)}`, {
    fault: "us",
  });
}

function round2(ms: number): number {
  return Math.round(ms * 100) / 100;
}
