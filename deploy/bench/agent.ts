/**
 * What a worker's agent takes for machines that run and do nothing: memory for each, and CPU time. By runc, since a hundred
 * emulated VMs would leave this machine no time to measure; watcher, control channel and store are the same for each driver.
 * There is no peer: the figures stand beside the promise.
 */
import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { GodwitError } from "../../control/contract/errors.ts";
import { MachineView } from "../../control/contract/machine.ts";
import { TestWorker } from "../../control/worker/testbed.fixture.ts";
import { cpuTimeMs } from "../../control/worker/vmm/process-stats.ts";
import { stopTestbed } from "../servers/testbed.ts";
import type { Bench } from "./bench.ts";
import { wholeNumber } from "./options.ts";

const MACHINES_DEFAULT = 100;
const MACHINES_MAX = 120;
const IDLE_S_DEFAULT = 60;
/** Started at once: more would wait for the boot lane anyway. */
const BATCH = 8;
const START_S_MAX = 60;
const SETTLE_MS = 10_000;

export const bench: Bench = {
  summary: "memory for each machine and idle CPU of a worker's agent with 100 machines (runc)",
  async run(options, say) {
    const { values } = parseArgs({
      args: options,
      options: { machines: { type: "string" }, "idle-seconds": { type: "string" } },
    });
    const machines = wholeNumber("machines", values.machines, MACHINES_DEFAULT);
    const idleS = wholeNumber("idle-seconds", values["idle-seconds"], IDLE_S_DEFAULT);
    if (machines > MACHINES_MAX) {
      throw new GodwitError(
        "bench.invalid_option",
        `--machines is at most ${MACHINES_MAX}, not ${machines}`,
        {
          fault: "client",
        },
      );
    }
    const worker = await TestWorker.create({ memory_mb_max: 65_536 });
    try {
      return await measure(worker, machines, idleS, say);
    } finally {
      await worker.remove();
      await stopTestbed();
    }
  },
};

async function measure(worker: TestWorker, machines: number, idleS: number, say: (line: string) => void) {
  const { pid } = await worker.start();
  await worker.pull();
  // One that comes and goes: what the first machine loads stays loaded.
  const first = worker.spec();
  await startAll(worker, [first.id], () => first);
  await worker.call("DELETE", `/v1/machines/${first.id}`);
  await worker.call("GET", `/v1/machines/${first.id}/wait?state=destroyed&timeout_s=${START_S_MAX}`);
  await delay(SETTLE_MS);
  const before = residentBytes(pid);
  say(`the agent without machines: ${megabytes(before)} MB resident`);
  const specs = Array.from({ length: machines }, () => worker.spec());
  const byId = new Map(specs.map((spec) => [spec.id, spec]));
  for (let from = 0; from < machines; from += BATCH) {
    await startAll(worker, specs.slice(from, from + BATCH).map(({ id }) => id), (id) => byId.get(id)!);
    say(`${Math.min(from + BATCH, machines)} machines run: ${megabytes(residentBytes(pid))} MB`);
  }
  await delay(SETTLE_MS);
  const after = residentBytes(pid);
  const cpuBefore = cpuTimeMs(pid);
  const begun = performance.now();
  await delay(idleS * 1_000);
  const cpuMs = cpuTimeMs(pid) - cpuBefore;
  const percent = 100 * cpuMs / (performance.now() - begun);
  const running = await worker.call<{ machines: unknown[] }>("GET", "/v1/machines");
  const started = running.machines.map((view) => MachineView.parse(view)).filter((view) =>
    view.state === "started"
  );
  if (started.length !== machines) {
    throw new GodwitError("bench.no_machine", `${started.length} of ${machines} machines run at the end`, {
      fault: "us",
    });
  }
  return {
    memory_mb_a_machine: Math.round((after - before) / machines / 1_048_576 * 100) / 100,
    idle_cpu_percent: Math.round(percent * 100) / 100,
    agent_mb: megabytes(after),
    machines,
    idle_s: idleS,
  };
}

async function startAll(
  worker: TestWorker,
  ids: readonly string[],
  specOf: (id: string) => unknown,
): Promise<void> {
  await Promise.all(ids.map(async (id) => {
    await worker.call("PUT", `/v1/machines/${id}`, specOf(id));
    await worker.call("POST", `/v1/machines/${id}/start`);
    const wait = `/v1/machines/${id}/wait?state=started&timeout_s=${START_S_MAX}`;
    const view = MachineView.parse(await worker.call("GET", wait));
    if (view.state === "started") return;
    throw new GodwitError("bench.no_machine", `Machine ${id} is ${view.state}: ${view.reason}`, {
      fault: "us",
    });
  }));
}

/** Shared pages of the runtime among them, which do not grow with machines. */
function residentBytes(pid: number): number {
  const kb = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return Number(kb ?? 0) * 1_024;
}

function megabytes(bytes: number): number {
  return Math.round(bytes / 104_857.6) / 10;
}
