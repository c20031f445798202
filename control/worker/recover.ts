/**
 * What an agent does first: find out what became of the machines while no agent was there. VMs that run are adopted;
 * operations that were under way go on; machines that ran before the host restarted, or before the stack was shut down,
 * are started again; one whose VM is just gone, or whose saved memory is, is stopped, with that reason.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { messageOf } from "../contract/errors.ts";
import { type Host, remainsOf } from "./host.ts";
import type { Engine } from "./operations/engine.ts";
import type { Requests } from "./requests.ts";
import { unfinishedOperations } from "./store/operations.ts";
import { listMachines, type Machine } from "./store/machines.ts";
import type { Watcher } from "./watch.ts";

/**
 * In the run folder, which no reboot and no `down` leaves: where it is gone, nothing that ran before can run now, and it
 * was not the VMs' own doing.
 */
const SEEN_FILE = "agent-was-here";
const BOOT_ID_FILE = "/proc/sys/kernel/random/boot_id";

export interface Recovery {
  readonly adopted: string[];
  readonly lost: string[];
  readonly resumed: number;
  readonly restarted: string[];
}

export async function recover(
  host: Host,
  engine: Engine,
  requests: Requests,
  onRunning: (machineId: string, watcher: Watcher) => void,
): Promise<Recovery> {
  const { store } = host;
  const hasRestarted = everythingEnded(host);
  const unfinished = unfinishedOperations(store);
  const busy = new Set(unfinished.map((operation) => operation.machine_id));
  const idle = listMachines(store).filter((machine) => !busy.has(machine.id));
  engine.resume();

  const recovery: Recovery = { adopted: [], lost: [], resumed: unfinished.length, restarted: [] };
  await Promise.all(
    idle.filter((machine) => machine.state === "started").map(async (machine) => {
      const found = hasRestarted
        ? "the host restarted, or its stack was taken down"
        : await adopt(host, machine);
      if (typeof found !== "string") {
        recovery.adopted.push(machine.id);
        return onRunning(machine.id, found);
      }
      recovery.lost.push(machine.id);
      void requests.ended(machine.id, null, found, hasRestarted);
    }),
  );
  for (const { id, state } of idle) {
    if (state !== "suspended" || host.driver.isSuspended(remainsOf(host.config, id))) continue;
    recovery.lost.push(id);
    requests.memoryLost(id, "its saved memory was lost when the host restarted, or its stack was taken down");
  }
  rememberBeingHere(host);
  for (const { id, desired, state } of listMachines(store)) {
    if (desired === "started" && state !== "started") {
      recovery.restarted.push(id);
      void requests.bringBack(id);
    }
  }
  return recovery;
}

/** The watcher of its VM, or why there is none. */
async function adopt(host: Host, machine: Machine): Promise<Watcher | string> {
  try {
    const vm = await host.driver.adopt(remainsOf(host.config, machine.id));
    return vm === null ? "the VM was gone when the agent came back" : host.watchers.open(vm);
  } catch (error) {
    // Whatever is left of it is cleaned by the stop that follows.
    host.log.error({ machine: machine.id, err: error }, "cannot adopt the machine's VM");
    return `the VM could not be taken over when the agent came back: ${messageOf(error)}`;
  }
}

function everythingEnded(host: Host): boolean {
  const before = host.store.fact("boot_id");
  return before !== null && (before !== bootId() || !existsSync(join(host.config.run_folder, SEEN_FILE)));
}

/** Only once every machine has been judged: an agent killed before that leaves the judging to the next one. */
function rememberBeingHere(host: Host): void {
  host.store.write(() => host.store.setFact("boot_id", bootId()));
  writeFileSync(join(host.config.run_folder, SEEN_FILE), "", { mode: 0o600 });
}

function bootId(): string {
  return readFileSync(BOOT_ID_FILE, "utf8").trim();
}
