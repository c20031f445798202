/**
 * How long a stopped machine takes from `startMachine` to its first byte through the edge, beside the same VM started by a
 * shell script and asked directly; and what many started at once take of CPU time (machine-start/many-machines.ts). Both do all their work within the time: the script makes its tap, the platform all
 * that it does. What differs is the platform; guest, drives, kernel and QEMU's arguments are the same.
 */
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mkdtempSync, rmSync } from "node:fs";
import { parseArgs } from "node:util";
import { GodwitError } from "../../control/contract/errors.ts";
import type { GuestStatus } from "../../control/contract/guest-api.ts";
import { openControlStream } from "../../control/worker/vmm/control-stream.ts";
import { GuestClient } from "../../control/worker/vmm/guest-client.ts";
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
  scriptOf,
  startByHand,
} from "./hand-run.ts";
import {
  describeOriginal,
  findMachine,
  type MeasuredMachine,
  startMachine,
  stopMachine,
} from "./measured-machine.ts";
import { measureMany } from "./machine-start/many-machines.ts";
import { wholeNumber } from "./options.ts";
import { type OwnStack, withOwnStack } from "./own-stack.ts";
import { alternate, median, ratioOf } from "./rounds.ts";

const PARTS = ["one", "many"];
const ROUNDS_DEFAULT = 5;
/** Each takes three minutes and a half under TCG on two cores. */
const MANY_ROUNDS_DEFAULT = 2;
const MACHINES_DEFAULT = 20;
/** A worker's agent has links for more, this machine's memory not. */
const MACHINES_MAX = 64;
/** With two more tries of the worker's own. */
const START_MS_MAX = 300_000;
const HAND_MS_MAX = 60_000;
/** Far above what the platform takes before QEMU, far below the worker's patience with a silent guest. */
const FIRST_QEMU_MS_MAX = 5_000;
const TRIES_MAX = 4;
const GUEST_STATUS_MS_MAX = 30_000;
/** The port that the example app listens on inside. */
const APP_PORT = 8_080;

export const bench: Bench = {
  summary: "startMachine to first byte through the edge, over the same VM started by a shell script",
  help: [
    "--parts one,many  one machine's start until its first byte; the CPU time of many at once",
    `--rounds N        of each part (${ROUNDS_DEFAULT} of one, ${MANY_ROUNDS_DEFAULT} of many)`,
    `--machines N      started at once, at most ${MACHINES_MAX} (${MACHINES_DEFAULT})`,
    "--port-base N     of the benchmark's stack",
  ],
  run(argv, say) {
    const options = readOptions(argv);
    return withOwnStack(options.portBase, say, (stack) => measure(stack, options, say));
  },
};

interface Options {
  readonly parts: readonly string[];
  readonly rounds: number;
  readonly manyRounds: number;
  readonly machines: number;
  readonly portBase: number | null;
}

function readOptions(argv: string[]): Options {
  const { values } = parseArgs({
    args: argv,
    options: {
      parts: { type: "string" },
      rounds: { type: "string" },
      machines: { type: "string" },
      "port-base": { type: "string" },
    },
  });
  const parts = values.parts?.split(",") ?? PARTS;
  const machines = wholeNumber("machines", values.machines, MACHINES_DEFAULT);
  const unknown = parts.find((part) => !PARTS.includes(part));
  if (unknown !== undefined) throw invalid(`--parts are ${PARTS.join(", ")}, not ${unknown}`);
  if (machines > MACHINES_MAX) throw invalid(`--machines is at most ${MACHINES_MAX}, not ${machines}`);
  return {
    parts,
    rounds: wholeNumber("rounds", values.rounds, ROUNDS_DEFAULT),
    manyRounds: wholeNumber("rounds", values.rounds, MANY_ROUNDS_DEFAULT),
    machines,
    portBase: values["port-base"] === undefined ? null : Number(values["port-base"]),
  };
}

function invalid(message: string): GodwitError {
  return new GodwitError("bench.invalid_option", message, { fault: "client" });
}

/** What the rounds leave beside the figures that are compared. */
interface Tally {
  /** Milliseconds from sending the call until the API had answered it, and until QEMU was there. */
  readonly acceptedMs: number[];
  readonly beforeQemuMs: number[];
  /** Starts that did not count because the emulator hung at boot and a second VM was needed. */
  readonly hangs: { platform: number; hand_run: number };
}

async function measure(stack: OwnStack, options: Options, say: (line: string) => void) {
  const machine = await findMachine(stack);
  const folder = mkdtempSync(join(tmpdir(), "godwit-hand-"));
  const { parts, machines, manyRounds } = options;
  try {
    await stopMachine(stack, machine.machineId);
    const one = parts.includes("one") ? await measureOne(stack, machine, folder, options.rounds, say) : {};
    const many = parts.includes("many")
      ? await measureMany(
        stack,
        machine.machineId,
        folder,
        { machines, rounds: manyRounds, port: APP_PORT },
        say,
      )
      : {};
    return { ...one, ...many };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The machine is at rest before and after. */
async function measureOne(
  stack: OwnStack,
  machine: MeasuredMachine,
  folder: string,
  rounds: number,
  say: (line: string) => void,
) {
  const tally: Tally = { acceptedMs: [], beforeQemuMs: [], hangs: { platform: 0, hand_run: 0 } };
  // Once each before it counts: files are in the page cache, connections are open.
  let captured: { original: Original; plan: HandRun } | null = null;
  await runByPlatform(stack, machine, tally, () => {
    const original = describeOriginal(machine);
    const plan = planHandRun(original, folder, `hand${process.pid}`);
    prepareHandRun(original, plan);
    captured = { original, plan };
  });
  const { original, plan } = captured!;
  say(`\nthe platform's QEMU:\n  ${original.argv.map(quoted).join(" ")}`);
  say(`\nthe script of the hand-run:\n${scriptOf(original, plan).replace(/^/gm, "  ")}`);
  await runByHand(plan, original.address, tally);
  tally.acceptedMs.length = tally.beforeQemuMs.length = 0;

  const figures = await alternate(rounds, [
    { name: "platform", run: () => runByPlatform(stack, machine, tally, () => {}) },
    { name: "hand-run", run: () => runByHand(plan, original.address, tally) },
  ], (round, name, ms) => say(`round ${round + 1}  ${name.padEnd(8)}  ${ms.toFixed(0)} ms`));
  const guest = await guestStatusByHand(plan);
  return report(figures.get("platform")!, figures.get("hand-run")!, tally, guest, machine, say);
}

function report(
  ours: number[],
  peers: number[],
  tally: Tally,
  guest: GuestStatus,
  machine: MeasuredMachine,
  say: (line: string) => void,
) {
  const afterAccepted = ours.map((ms, round) => ms - tally.acceptedMs[round]!);
  const overheadMs = round1(median(afterAccepted) - median(peers));
  say(`\nmedian: platform ${median(ours).toFixed(0)} ms, hand-run ${median(peers).toFixed(0)} ms`);
  say(`overhead from the accepted call on: ${overheadMs} ms`);
  return {
    ratio: ratioOf(ours, peers),
    overhead_ms: overheadMs,
    platform_ms: ours.map(round1),
    hand_run_ms: peers.map(round1),
    accepted_ms: tally.acceptedMs.map(round1),
    before_qemu_ms: tally.beforeQemuMs.map(round1),
    hangs: tally.hangs,
    guest_memory_mb: machine.memoryMb,
    guest_memory_available_mb: guest.memory_available_mb,
    vm_init_rss_kb: guest.init_rss_kb,
    vm_init_rss_anon_kb: guest.init_rss_anon_kb,
    /** By the guest's clock, from its kernel's start; what follows is the app's own start. */
    guest_spawned_by_s: guest.uptime_s,
    boot_steps_ms: Object.fromEntries(guest.steps.map(({ step, ms }) => [step, round1(ms)])),
  };
}

/**
 * Milliseconds from sending the call. A microvm under TCG hangs now and then at boot; then the worker, after its bound,
 * starts a second one, perhaps of another machine type. Such a start says nothing about the platform and is run again.
 */
async function runByPlatform(
  stack: OwnStack,
  { machineId }: MeasuredMachine,
  tally: Tally,
  whileItRuns: () => void,
): Promise<number> {
  for (let tried = 1;; tried++) {
    const target: Target = {
      address: "127.0.0.1",
      port: Number(stack.appUrl.port || 80),
      host: stack.appUrl.host,
    };
    const from = performance.now();
    const call = startMachine(stack, machineId).then(() => performance.now() - from);
    const [at, acceptedMs] = await Promise.all([firstByte(target, START_MS_MAX), call]);
    const beforeQemuMs = performance.now() - from - qemuOf(machineId).ageMs;
    const isFirstVm = beforeQemuMs < FIRST_QEMU_MS_MAX;
    if (isFirstVm) whileItRuns();
    await stopMachine(stack, machineId);
    if (isFirstVm) {
      tally.acceptedMs.push(acceptedMs);
      tally.beforeQemuMs.push(beforeQemuMs);
      return at - from;
    }
    tally.hangs.platform++;
    if (tried === TRIES_MAX) throw hungTooOften("the platform's VM");
  }
}

async function runByHand(plan: HandRun, address: string, tally: Tally): Promise<number> {
  for (let tried = 1;; tried++) {
    try {
      return await runByHandOnce(plan, address);
    } catch (error) {
      if (!(error instanceof GodwitError) || error.code !== "bench.no_answer") throw error;
      tally.hangs.hand_run++;
      if (tried === TRIES_MAX) throw hungTooOften("the hand-run VM");
    }
  }
}

function hungTooOften(what: string): GodwitError {
  return new GodwitError("bench.hung", `${what} hung at boot ${TRIES_MAX} times in a row`, {
    fault: "us",
    hint: "run it on a quieter machine",
  });
}

async function runByHandOnce(plan: HandRun, address: string): Promise<number> {
  copyLayer(plan);
  const target: Target = { address, port: APP_PORT, host: "hand-run" };
  const from = performance.now();
  const vm = startByHand(plan);
  try {
    return await firstByte(target, HAND_MS_MAX) - from;
  } finally {
    await vm.end();
  }
}

/** What vm-init says of itself and of the guest's memory just after it spawned the user's process. */
async function guestStatusByHand(plan: HandRun): Promise<GuestStatus> {
  copyLayer(plan);
  const vm = startByHand(plan);
  const limit = AbortSignal.timeout(GUEST_STATUS_MS_MAX);
  try {
    const stream = await openControlStream(plan.controlSocket, new Promise(() => {}), limit);
    const guest = new GuestClient(stream);
    const status = await guest.status({ waitMs: GUEST_STATUS_MS_MAX, signal: limit });
    guest.close();
    return status;
  } finally {
    await vm.end();
  }
}

function round1(ms: number): number {
  return Math.round(ms * 10) / 10;
}
