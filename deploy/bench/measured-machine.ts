/** The one machine of a benchmark's stack: found by the API, described as its QEMU shows it, brought to rest. */
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { GodwitError } from "../../control/contract/errors.ts";
import { optionValue, type Original, plainArguments, qemuOf } from "./hand-run.ts";
import type { OwnStack } from "./own-stack.ts";

const REST_S_MAX = 60;

export interface MeasuredMachine {
  readonly machineId: string;
  readonly privateIp: string;
  readonly memoryMb: number;
}

export async function findMachine(stack: OwnStack): Promise<MeasuredMachine> {
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

export function describeOriginal(
  { machineId, privateIp }: Pick<MeasuredMachine, "machineId" | "privateIp">,
): Original {
  const { argv } = qemuOf(machineId);
  const shown = Bun.spawnSync(["ip", "-json", "-details", "address", "show"]).stdout.toString();
  const devices = JSON.parse(shown) as {
    ifalias?: string;
    address: string;
    addr_info: { family: string; local: string; prefixlen: number }[];
  }[];
  const device = devices.find(({ ifalias }) => ifalias === machineId);
  const own = device?.addr_info.find((address) => address.family === "inet");
  if (device === undefined || own === undefined) {
    throw new Error(`No link of machine ${machineId} has an IPv4 address`);
  }
  return {
    argv,
    machineId,
    rootFiles: rootFilesOf(argv),
    gateway: `${own.local}/${own.prefixlen}`,
    address: privateIp.split("/")[0]!,
    mac: optionValue(argv, "netdev=link", "mac"),
    hostMac: device.address,
  };
}

/** As the driver laid them into QEMU's root: a list beside it, in the run folder. */
function rootFilesOf(argv: readonly string[]): Map<string, string> {
  const runConfig = optionValue(plainArguments({ argv, rootFiles: new Map() }), "id=config", "file");
  const lines = readFileSync(join(dirname(runConfig), "qemu.mounts"), "utf8").trim().split("\n");
  return new Map(lines.map((line) => {
    const [from = "", to = ""] = line.split("\t");
    return [`/${to}`, from];
  }));
}

export async function startMachine(stack: OwnStack, machineId: string): Promise<void> {
  await stack.api.graphql(
    `mutation ($input: MachineActionInput!) { startMachine(input: $input) { machine { state } } }`,
    { input: { machineId } },
  );
}

export async function stopMachine(stack: OwnStack, machineId: string): Promise<void> {
  await stack.api.graphql(
    `mutation ($input: StopMachineInput!) { stopMachine(input: $input) { machine { state } } }`,
    { input: { machineId } },
  );
  await waitFor(stack, machineId, "stopped");
}

export async function suspendMachine(stack: OwnStack, machineId: string): Promise<void> {
  await stack.api.graphql(
    `mutation ($input: MachineActionInput!) { suspendMachine(input: $input) { machine { state } } }`,
    { input: { machineId } },
  );
  await waitFor(stack, machineId, "suspended");
}

/** @throws GodwitError where it comes to rest in another state */
async function waitFor(stack: OwnStack, machineId: string, state: string): Promise<void> {
  const answer = await stack.api.rest(
    `/v1/machines/${machineId}/wait?state=${state}&timeout_s=${REST_S_MAX}`,
  );
  const view = await answer.json() as { state: string; reason: string | null };
  if (view.state === state) return;
  throw new GodwitError(
    "bench.machine_state",
    `Machine ${machineId} is ${view.state}, not ${state}: ${view.reason}`,
    { fault: "us" },
  );
}
