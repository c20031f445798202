/**
 * How long a suspended machine takes from `startMachine` to its first byte through the edge, beside the same VM started
 * cold by a shell script, and beside one that a shell script resumes from a plain file; both asked directly. Guest,
 * drives, kernel and QEMU's arguments are the same for all three.
 */
import { chmodSync, createWriteStream, mkdtempSync, rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { parseArgs } from "node:util";
import { GodwitError } from "../../control/contract/errors.ts";
import { migrated, sendMemory } from "../../control/worker/vmm/qemu/migration.ts";
import { Qmp } from "../../control/worker/vmm/qmp.ts";
import type { Bench } from "./bench.ts";
import { firstByte, type Target } from "./first-byte.ts";
import {
  copyLayer,
  type HandRun,
  type Original,
  planHandRun,
  prepareHandRun,
  qemuOf,
  quoted,
  resumeScriptOf,
  scriptOf,
  startByHand,
} from "./hand-run.ts";
import { describeOriginal, findMachine, startMachine, suspendMachine } from "./measured-machine.ts";
import { wholeNumber } from "./options.ts";
import { type OwnStack, withOwnStack } from "./own-stack.ts";
import { alternate, median, ratioOf } from "./rounds.ts";

const ROUNDS_DEFAULT = 5;
const ANSWER_MS_MAX = 120_000;
/** Of a script's cold start; one that takes longer hangs. */
const START_MS_MAX = 60_000;
const TRIES_MAX = 4;
const QMP_MS_MAX = 10_000;
/** The port that the example app listens on inside. */
const APP_PORT = 8_080;

export const bench: Bench = {
  summary:
    "startMachine of a suspended machine to first byte, over a cold start and a resume by shell scripts",
  run(options, say) {
    const { values } = parseArgs({
      args: options,
      options: { rounds: { type: "string" }, "port-base": { type: "string" } },
    });
    const rounds = wholeNumber("rounds", values.rounds, ROUNDS_DEFAULT);
    const portBase = values["port-base"] === undefined ? null : Number(values["port-base"]);
    return withOwnStack(portBase, say, (stack) => measure(stack, rounds, say));
  },
};

async function measure(stack: OwnStack, rounds: number, say: (line: string) => void) {
  const machine = await findMachine(stack);
  const folder = mkdtempSync(join(tmpdir(), "godwit-hand-"));
  try {
    const original = describeOriginal(machine);
    const plan = planHandRun(original, folder, `hand${process.pid}`);
    prepareHandRun(original, plan);
    const hand = new Hand(original, plan);
    await suspendMachine(stack, machine.machineId);
    // Once each before it counts: files are in the page cache, connections are open.
    await resumeByPlatform(stack, machine.machineId);
    await hand.start();
    await hand.resume();
    say(`\nthe platform's QEMU:\n  ${(await resumedArgv(stack, machine.machineId)).map(quoted).join(" ")}`);
    say(`\nthe script of the hand-run cold start:\n${scriptOf(original, plan).replace(/^/gm, "  ")}`);
    say(`\nthe script of the hand-run resume:\n${resumeScriptOf(original, plan).replace(/^/gm, "  ")}`);

    const figures = await alternate(rounds, [
      { name: "platform resume", run: () => resumeByPlatform(stack, machine.machineId) },
      { name: "hand-run start", run: () => hand.start() },
      { name: "hand-run resume", run: () => hand.resume() },
    ], (round, name, ms) => say(`round ${round + 1}  ${name.padEnd(15)}  ${ms.toFixed(0)} ms`));
    const ours = figures.get("platform resume")!;
    const starts = figures.get("hand-run start")!;
    const resumes = figures.get("hand-run resume")!;
    say(
      `\nmedian: platform resume ${median(ours).toFixed(0)} ms, hand-run start ${
        median(starts).toFixed(0)
      } ms, ` +
        `hand-run resume ${median(resumes).toFixed(0)} ms`,
    );
    return {
      ratio: ratioOf(ours, starts),
      hand_ratio: ratioOf(ours, resumes),
      platform_resume_ms: ours.map(Math.round),
      hand_start_ms: starts.map(Math.round),
      hand_resume_ms: resumes.map(Math.round),
      hangs: hand.hangs,
      guest_memory_mb: machine.memoryMb,
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Milliseconds from sending the call. The machine is suspended before and after. */
async function resumeByPlatform(stack: OwnStack, machineId: string): Promise<number> {
  const { appUrl } = stack;
  const target: Target = { address: "127.0.0.1", port: Number(appUrl.port || 80), host: appUrl.host };
  const from = performance.now();
  const [at] = await Promise.all([firstByte(target, ANSWER_MS_MAX), startMachine(stack, machineId)]);
  requireResumed(qemuOf(machineId).argv);
  await suspendMachine(stack, machineId);
  return at - from;
}

async function resumedArgv(stack: OwnStack, machineId: string): Promise<readonly string[]> {
  await startMachine(stack, machineId);
  await stack.api.rest(`/v1/machines/${machineId}/wait?state=started&timeout_s=60`);
  const { argv } = qemuOf(machineId);
  await suspendMachine(stack, machineId);
  return argv;
}

function requireResumed(argv: readonly string[]): void {
  if (argv.includes("-incoming")) return;
  throw new GodwitError("bench.not_resumed", "The machine was started cold, not resumed", {
    fault: "us",
    hint: "the worker's log says why",
  });
}

/** The VM of the scripts. */
class Hand {
  hangs = 0;
  readonly #target: Target;
  readonly #plan: HandRun;
  #isSaved = false;

  constructor(original: Original, plan: HandRun) {
    this.#target = { address: original.address, port: APP_PORT, host: "hand-run" };
    this.#plan = plan;
  }

  /** Cold; its memory is saved afterwards, for the next resume. A boot that hangs says nothing and is run again. */
  async start(): Promise<number> {
    for (;;) {
      copyLayer(this.#plan);
      try {
        return await this.#run(this.#plan.scriptFile, START_MS_MAX, async () => {
          await saveByHand(this.#plan);
          this.#isSaved = true;
        });
      } catch (error) {
        if (!(error instanceof GodwitError) || error.code !== "bench.no_answer") throw error;
        if (++this.hangs === TRIES_MAX) throw error;
      }
    }
  }

  /** Memory is resumed once: after that the layer is another. */
  async resume(): Promise<number> {
    if (!this.#isSaved) await this.start();
    this.#isSaved = false;
    return await this.#run(this.#plan.resumeScriptFile, ANSWER_MS_MAX, () => Promise.resolve());
  }

  async #run(scriptFile: string, waitMs: number, afterwards: () => Promise<void>): Promise<number> {
    const from = performance.now();
    const vm = startByHand(this.#plan, scriptFile);
    try {
      const ms = await firstByte(this.#target, waitMs) - from;
      await afterwards();
      return ms;
    } finally {
      await vm.end();
    }
  }
}

/** What `migrate "exec:cat >FILE"` does, for a QEMU whose sandbox lets it start no `cat`. */
async function saveByHand({ qmpSocket, memoryFile, folder }: HandRun): Promise<void> {
  const qmp = await Qmp.connect(qmpSocket, { onEvent: () => {}, timeoutMs: QMP_MS_MAX });
  if (qmp === null) throw new Error(`Nobody listens at ${qmpSocket}`);
  const path = join(folder, "memory.sock");
  rmSync(path, { force: true });
  const came = Promise.withResolvers<Socket>();
  const server = createServer({ pauseOnConnect: true }, came.resolve);
  try {
    await new Promise<void>((resolve) => server.listen(path, resolve));
    chmodSync(path, 0o666);
    await sendMemory(qmp, `unix:${path}`);
    await pipeline(await came.promise, createWriteStream(memoryFile));
    await migrated(qmp);
  } finally {
    server.close();
    qmp.close();
  }
}
