/**
 * Many stopped machines started at once, all requests in flight together, beside as many scripts started at once, each side
 * until all have answered. What is compared is CPU time. Ours is that of every process of the stack: agent, edge, control
 * and their servers, the VMs, and all programs that were run for them. Theirs is that of the scripts, which become their
 * VMs. A guest that the agent boots a second time counts against us.
 */
import { join } from "node:path";
import { GodwitError } from "../../../control/contract/errors.ts";
import { MachineSpec, type MachineView } from "../../../control/contract/machine.ts";
import { newMachineId } from "../../../control/contract/names.ts";
import { WorkerClient } from "../../../control/place/worker-client.ts";
import { type Home, homeAt } from "../../stack/home.ts";
import { liveRecords } from "../../stack/identity.ts";
import { firstByte } from "../first-byte.ts";
import { copyLayer, type HandRun, planHandRun, prepareHandRun, qemuOf, startByHand } from "../hand-run.ts";
import { describeOriginal } from "../measured-machine.ts";
import type { OwnStack } from "../own-stack.ts";
import { ownCpuMsOf, usageOf } from "../relay/process-usage.ts";
import { alternate, median, ratioOf } from "../rounds.ts";

/** Twenty boots on two slow cores take two minutes. */
const ANSWER_MS_MAX = 300_000;
/** Seldom, so that asking takes little of the processors that the guests boot on. */
const POLL_MS = 100;
const REST_S_MAX = 60;
/** Of a round of scripts one of whose VMs hangs at boot: such a VM takes all that it can get, and says nothing. */
const TRIES_MAX = 2;

export interface ManyOptions {
  readonly machines: number;
  readonly rounds: number;
  /** The port that the app listens on inside. */
  readonly port: number;
}

/** One round of one side, from sending the first request until the last answer. */
interface Figures {
  readonly cpuMs: number;
  readonly wallMs: number;
}

/** `like` names a machine of the stack that is at rest: the others are made as it was. */
export async function measureMany(
  stack: OwnStack,
  like: string,
  folder: string,
  options: ManyOptions,
  say: (line: string) => void,
) {
  const platform = await ManyMachines.create(stack, like, options);
  say(`\n${options.machines} machines at once`);
  const bootsBefore = await platform.secondBoots();
  // The first round is the platform's: it shows with what each VM is started.
  let scripts: ManyScripts | null = null;
  const onOriginals = (originals: Originals) =>
    void (scripts ??= new ManyScripts(originals, folder, options.port));
  const wall = { platform: [] as number[], scripts: [] as number[] };
  const cpu = (side: keyof typeof wall) => ({ cpuMs, wallMs }: Figures) => {
    wall[side].push(wallMs);
    return cpuMs;
  };
  const figures = await alternate(options.rounds, [
    { name: "platform", run: () => platform.start(onOriginals).then(cpu("platform")) },
    { name: "scripts", run: () => scripts!.start().then(cpu("scripts")) },
  ], (round, name, cpuMs) => {
    const wallMs = wall[name as keyof typeof wall].at(-1)!;
    say(`round ${round + 1}  ${name.padEnd(8)}  ${seconds(cpuMs)} s of CPU time in ${seconds(wallMs)} s`);
  });
  const ours = figures.get("platform")!;
  const peers = figures.get("scripts")!;
  say(`\nmedian: platform ${seconds(median(ours))} s of CPU time, scripts ${seconds(median(peers))} s`);
  return {
    many_cpu_ratio: ratioOf(ours, peers),
    many_machines: options.machines,
    many_cpu_s: ours.map(seconds),
    many_scripts_cpu_s: peers.map(seconds),
    /** Of ours, all that is no VM: the stack's own processes and what the agent ran. */
    many_beside_vms_cpu_s: platform.besideVmsMs.map(seconds),
    many_wall_s: wall.platform.map(seconds),
    many_scripts_wall_s: wall.scripts.map(seconds),
    many_second_boots: await platform.secondBoots() - bootsBefore,
    many_scripts_hangs: scripts!.hangs,
  };
}

type Originals = readonly { readonly id: string; readonly address: string }[];

class ManyMachines {
  readonly besideVmsMs: number[] = [];
  readonly #home: Home;
  readonly #worker: WorkerClient;
  readonly #supervisor: number;
  readonly #ids: readonly string[];
  readonly #port: number;

  private constructor(home: Home, worker: WorkerClient, ids: readonly string[], port: number) {
    const supervisor = liveRecords(home.runFolder).find(({ name }) => name === "supervisor");
    if (supervisor === undefined) {
      throw new GodwitError("bench.stack_failed", "The benchmark's stack has no supervisor", { fault: "us" });
    }
    this.#home = home;
    this.#worker = worker;
    this.#supervisor = supervisor.pid;
    this.#ids = ids;
    this.#port = port;
  }

  static async create(stack: OwnStack, like: string, options: ManyOptions): Promise<ManyMachines> {
    const home = homeAt(stack.home);
    const worker = new WorkerClient("bench", `unix:${home.workerSocket}`);
    const { org_id, app_id, app_name, release_id, region, image, guest, services } = await worker.machine(
      like,
    );
    const specs = Array.from(
      { length: options.machines },
      () =>
        MachineSpec.parse({
          ...{ schema: 1, id: newMachineId(), org_id, app_id, app_name, release_id, region, image, guest },
          ...{ env: {}, services, restart: { policy: "no" } },
        }),
    );
    await Promise.all(specs.map((spec) => worker.create(spec)));
    return new ManyMachines(home, worker, specs.map(({ id }) => id), options.port);
  }

  /** All are at rest before and after. */
  async start(whileTheyRun: (machines: Originals) => void): Promise<Figures> {
    const before = this.#usedMs();
    const begun = performance.now();
    await Promise.all(this.#ids.map((id) => this.#worker.act(id, "start")));
    const machines = await Promise.all(this.#ids.map(async (id) => {
      const address = addressOf(await this.#started(id));
      await firstByte({ address, port: this.#port, host: "many" }, ANSWER_MS_MAX, POLL_MS);
      return { id, address };
    }));
    const wallMs = performance.now() - begun;
    const cpuMs = this.#usedMs() - before;
    const vmsMs = this.#ids.map((id) => ownCpuMsOf(qemuOf(id).pid));
    this.besideVmsMs.push(cpuMs - vmsMs.reduce((sum, ms) => sum + ms, 0));
    whileTheyRun(machines);
    await Promise.all(this.#ids.map((id) => this.#worker.stop(id, { signal: null, timeout_s: null })));
    await Promise.all(this.#ids.map((id) => this.#worker.wait(id, ["stopped"], REST_S_MAX)));
    return { cpuMs, wallMs };
  }

  /** Guests so far that said nothing in time and were booted anew. */
  async secondBoots(): Promise<number> {
    const answer = await fetch("http://worker/metrics", { unix: this.#home.workerSocket });
    const count = /^godwit_worker_silent_boots_total (\d+)$/m.exec(await answer.text())?.[1];
    return Number(count ?? 0);
  }

  async #started(id: string): Promise<MachineView> {
    for (const deadline = performance.now() + ANSWER_MS_MAX; performance.now() < deadline;) {
      const view = await this.#worker.wait(id, ["started"], REST_S_MAX).catch((error) => {
        if (error instanceof GodwitError && error.code === "machine.wait_timeout") return null;
        throw error;
      });
      if (view === null) continue;
      if (view.state === "started") return view;
      throw new GodwitError("bench.machine_state", `Machine ${id} is ${view.state}: ${view.reason}`, {
        fault: "us",
      });
    }
    throw new GodwitError("bench.no_answer", `Machine ${id} did not start in ${ANSWER_MS_MAX} ms`, {
      fault: "us",
    });
  }

  #usedMs(): number {
    const { cpuMs, endedCpuMs } = usageOf(this.#supervisor);
    return cpuMs + endedCpuMs;
  }
}

class ManyScripts {
  hangs = 0;
  readonly #port: number;
  readonly #scripts: readonly { readonly plan: HandRun; readonly address: string }[];

  /** While the originals run. */
  constructor(originals: Originals, folder: string, port: number) {
    this.#port = port;
    this.#scripts = originals.map(({ id, address }, at) => {
      const original = describeOriginal({ machineId: id, privateIp: address });
      const plan = planHandRun(original, join(folder, id), `m${at}x${process.pid}`);
      prepareHandRun(original, plan);
      return { plan, address };
    });
  }

  async start(): Promise<Figures> {
    for (let tried = 1;; tried++) {
      try {
        return await this.#startOnce();
      } catch (error) {
        if (!(error instanceof GodwitError) || error.code !== "bench.no_answer") throw error;
        this.hangs++;
        if (tried === TRIES_MAX) throw error;
      }
    }
  }

  async #startOnce(): Promise<Figures> {
    for (const { plan } of this.#scripts) copyLayer(plan);
    const begun = performance.now();
    const vms = this.#scripts.map(({ plan }) => startByHand(plan));
    try {
      const answers = this.#scripts.map(({ address }) =>
        firstByte({ address, port: this.#port, host: "many" }, ANSWER_MS_MAX, POLL_MS)
      );
      await Promise.all(answers);
      const wallMs = performance.now() - begun;
      const used = vms.map(({ pid }) => usageOf(pid));
      return { wallMs, cpuMs: used.reduce((sum, { cpuMs, endedCpuMs }) => sum + cpuMs + endedCpuMs, 0) };
    } finally {
      await Promise.all(vms.map((vm) => vm.end()));
    }
  }
}

function addressOf(view: MachineView): string {
  if (view.address4 !== null) return view.address4.split("/")[0]!;
  throw new GodwitError("bench.no_address", `Machine ${view.id} has no IPv4 address`, { fault: "us" });
}

function seconds(ms: number): number {
  return Math.round(ms / 10) / 100;
}
