/**
 * How long a stopped machine takes from `startMachine` to its first byte through the edge, beside the same VM started by a
 * shell script and asked directly. Both do all their work within the time: the script makes its tap, the platform all
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
  optionValue,
  type Original,
  planHandRun,
  prepareHandRun,
  qemuOf,
  quoted,
  scriptOf,
  startByHand,
} from "./hand-run.ts";
import { type OwnStack, withOwnStack } from "./own-stack.ts";
import { alternate, median, ratioOf } from "./rounds.ts";

const ROUNDS_DEFAULT = 5;
const START_MS_MAX = 60_000;
const STOP_S_MAX = 60;
const GUEST_STATUS_MS_MAX = 30_000;
const HAND_TRIES_MAX = 3;
/** The port that the example app listens on inside. */
const APP_PORT = 8_080;

export const bench: Bench = {
  summary: "startMachine to first byte through the edge, over the same VM started by a shell script",
  run(options, say) {
    const { rounds, portBase } = readOptions(options);
    return withOwnStack(portBase, say, (stack) => measure(stack, rounds, say));
  },
};

function readOptions(options: string[]): { rounds: number; portBase: number | null } {
  const { values } = parseArgs({
    args: options,
    options: { rounds: { type: "string" }, "port-base": { type: "string" } },
  });
  const rounds = Number(values.rounds ?? ROUNDS_DEFAULT);
  if (!Number.isInteger(rounds) || rounds < 1) {
    throw new GodwitError(
      "bench.invalid_option",
      `--rounds must be a whole number from 1, not ${values.rounds}`,
      {
        fault: "client",
      },
    );
  }
  return { rounds, portBase: values["port-base"] === undefined ? null : Number(values["port-base"]) };
}

async function measure(stack: OwnStack, rounds: number, say: (line: string) => void) {
  const machine = await findMachine(stack);
  const original = describeOriginal(machine);
  const folder = mkdtempSync(join(tmpdir(), "godwit-hand-"));
  const plan = planHandRun(original, folder, `hand${process.pid}`);
  try {
    prepareHandRun(original, plan);
    say(`\nthe platform's QEMU:\n  ${original.argv.map(quoted).join(" ")}`);
    say(`\nthe script of the hand-run:\n${scriptOf(original, plan).replace(/^/gm, "  ")}`);
    await stopMachine(stack, machine.machineId);
    // Once each before it counts: files are in the page cache, connections are open.
    const accepted: number[] = [];
    await runByPlatform(stack, machine.machineId, accepted);
    await runByHand(plan, original.address);
    accepted.length = 0;
    const figures = await alternate(rounds, [
      { name: "platform", run: () => runByPlatform(stack, machine.machineId, accepted) },
      { name: "hand-run", run: () => runByHand(plan, original.address) },
    ], (round, name, ms) => say(`round ${round + 1}  ${name.padEnd(8)}  ${ms.toFixed(0)} ms`));
    const ours = figures.get("platform")!;
    const peers = figures.get("hand-run")!;
    const guest = await guestStatusByHand(plan);
    say(`\nmedian: platform ${median(ours).toFixed(0)} ms, hand-run ${median(peers).toFixed(0)} ms`);
    return {
      ratio: ratioOf(ours, peers),
      overhead_ms: round1(median(ours.map((ms, round) => ms - accepted[round]!)) - median(peers)),
      platform_ms: ours.map(round1),
      accepted_ms: accepted.map(round1),
      hand_run_ms: peers.map(round1),
      guest_memory_mb: Number(machine.memoryMb),
      guest_memory_available_mb: guest.memory_available_mb,
      vm_init_rss_kb: guest.init_rss_kb,
      vm_init_rss_anon_kb: guest.init_rss_anon_kb,
      boot_steps_ms: Object.fromEntries(guest.steps.map(({ step, ms }) => [step, round1(ms)])),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

interface FoundMachine {
  readonly machineId: string;
  readonly privateIp: string;
  readonly memoryMb: number;
}

async function findMachine(stack: OwnStack): Promise<FoundMachine> {
  const name = stack.appUrl.hostname.split(".")[0];
  const { app } = await stack.api.graphql<{
    app: {
      machines: { edges: { node: { machineId: string; privateIp: string; guest: { memoryMb: number } } }[] };
    };
  }>(
    `query ($name: String!) { app(name: $name) { machines(first: 1) { edges { node {
      machineId privateIp guest { memoryMb } } } } } }`,
    { name },
  );
  const node = app.machines.edges[0]?.node;
  if (node === undefined) {
    throw new GodwitError("bench.no_machine", `App ${name} has no machine`, { fault: "us" });
  }
  return { machineId: node.machineId, privateIp: node.privateIp, memoryMb: node.guest.memoryMb };
}

function describeOriginal({ machineId, privateIp }: FoundMachine): Original {
  const argv = qemuOf(machineId);
  const link = optionValue(argv, "id=link", "ifname");
  const shown = Bun.spawnSync(["ip", "-json", "-4", "address", "show", "dev", link]).stdout.toString();
  const [device] = JSON.parse(shown) as { addr_info: { local: string; prefixlen: number }[] }[];
  const own = device?.addr_info[0];
  if (own === undefined) throw new Error(`Link ${link} has no IPv4 address`);
  return {
    argv,
    machineId,
    link,
    gateway: `${own.local}/${own.prefixlen}`,
    address: privateIp.split("/")[0]!,
    mac: optionValue(argv, "netdev=link", "mac"),
  };
}

/** Milliseconds from sending the call; `accepted` gets those until the API had answered it. */
async function runByPlatform(stack: OwnStack, machineId: string, accepted: number[]): Promise<number> {
  const target: Target = {
    address: "127.0.0.1",
    port: Number(stack.appUrl.port || 80),
    host: stack.appUrl.host,
  };
  const from = performance.now();
  const call = stack.api.graphql(
    `mutation ($input: MachineActionInput!) { startMachine(input: $input) { machine { state } } }`,
    { input: { machineId } },
  ).then(() => accepted.push(performance.now() - from));
  const [at] = await Promise.all([firstByte(target, START_MS_MAX), call]);
  await stopMachine(stack, machineId);
  return at - from;
}

async function stopMachine(stack: OwnStack, machineId: string): Promise<void> {
  await stack.api.graphql(
    `mutation ($input: StopMachineInput!) { stopMachine(input: $input) { machine { state } } }`,
    { input: { machineId } },
  );
  await stack.api.rest(`/v1/machines/${machineId}/wait?state=stopped&timeout_s=${STOP_S_MAX}`);
}

/** A microvm under TCG hangs now and then at boot; the platform tries again by itself, a script would be run again. */
async function runByHand(plan: HandRun, address: string): Promise<number> {
  for (let tried = 1;; tried++) {
    try {
      return await runByHandOnce(plan, address);
    } catch (error) {
      const isHang = error instanceof GodwitError && error.code === "bench.no_answer";
      if (!isHang || tried === HAND_TRIES_MAX) throw error;
    }
  }
}

async function runByHandOnce(plan: HandRun, address: string): Promise<number> {
  copyLayer(plan);
  const target: Target = { address, port: APP_PORT, host: "hand-run" };
  const from = performance.now();
  const vm = startByHand(plan);
  try {
    return await firstByte(target, START_MS_MAX) - from;
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
