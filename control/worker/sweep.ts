/**
 * Finds what has no owner: VMs, links and folders of machines that this host does not have, or that should be at rest. It
 * removes nothing that an operation may be using: each removal runs while the machine's operations are held off.
 */
import { existsSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { MachineState } from "../contract/machine.ts";
import { type Host, machineFolder, machineRunFolder, machinesFolder, remainsOf } from "./host.ts";
import type { Engine } from "./operations/engine.ts";
import { listLinks } from "./store/links.ts";
import { findMachine, listMachines } from "./store/machines.ts";

/** States in which a machine has neither a VM nor a link on the host. */
const AT_REST: ReadonlySet<MachineState> = new Set(["created", "stopped", "suspended", "failed"]);

/** States in which no memory is kept. A start that failed before it took its memory up leaves it for the next one. */
const NOTHING_SAVED: ReadonlySet<MachineState> = new Set(["created", "stopped"]);

export interface Found {
  /** Machine ids of which the driver finds anything. */
  readonly vms: readonly string[];
  /** Indexes of links that stand. */
  readonly links: readonly number[];
  /** Names in the machines' folders, of the state and the run folder. */
  readonly folders: readonly string[];
}

export interface Known {
  readonly stateOf: (machineId: string) => MachineState | null;
  readonly ownerOf: (linkIndex: number) => string | null;
}

export interface Orphans {
  readonly vms: string[];
  readonly links: number[];
  readonly folders: string[];
}

/** Pure: which of the found things nobody owns. */
export function orphansOf(found: Found, known: Known): Orphans {
  const isGone = (id: string) => (known.stateOf(id) ?? "destroyed") === "destroyed";
  const rests = (id: string) => isGone(id) || AT_REST.has(known.stateOf(id)!);
  return {
    vms: found.vms.filter(rests),
    links: found.links.filter((index) => {
      const owner = known.ownerOf(index);
      return owner === null || rests(owner);
    }),
    folders: found.folders.filter(isGone),
  };
}

/** One round. Answers what was removed. */
export async function sweep(host: Host, engine: Engine): Promise<Orphans> {
  const { store, config, metrics } = host;
  const links = () => listLinks(store);
  const known: Known = {
    stateOf: (id) => findMachine(store, id)?.state ?? null,
    ownerOf: (index) => links().get(index) ?? null,
  };
  const orphans = orphansOf(await look(host), known);
  const removed: Orphans = { vms: [], links: [], folders: [] };
  // One that cannot be removed, a process that hangs in the kernel, keeps none of the others.
  const remove = async (what: string, owner: string, body: () => Promise<void>) => {
    try {
      await engine.exclusively(owner, body);
    } catch (error) {
      host.log.error({ err: error }, `cannot remove ${what}, which nobody owns; will try again`);
    }
  };
  const vms = [...new Set([...orphans.vms, ...orphans.folders])];
  for (const id of vms) {
    await remove(`what is left of machine ${id}`, id, async () => {
      // Looked at again, because an operation may have come and gone since.
      const again = orphansOf({ vms: [id], links: [], folders: [id] }, known);
      if (again.vms.length > 0) {
        await host.driver.clean(remainsOf(config, id));
        if (orphans.vms.includes(id)) removed.vms.push(id);
      }
      if (again.folders.length > 0) {
        await rm(machineRunFolder(config, id), { recursive: true, force: true });
        await rm(machineFolder(config, id), { recursive: true, force: true });
        if (orphans.folders.includes(id)) removed.folders.push(id);
      }
    });
  }
  for (const index of orphans.links) {
    const owner = known.ownerOf(index);
    await remove(`link ${index}`, owner ?? `link ${index}`, async () => {
      if (orphansOf({ vms: [], links: [index], folders: [] }, known).links.length === 0) return;
      await host.network.detach(index);
      removed.links.push(index);
    });
  }
  for (const { id, state } of listMachines(store)) {
    if (!NOTHING_SAVED.has(state) || !host.driver.isSuspended(remainsOf(config, id))) continue;
    await remove(`saved memory of machine ${id}`, id, async () => {
      if (NOTHING_SAVED.has(findMachine(store, id)?.state ?? "destroyed")) {
        await host.driver.forget(remainsOf(config, id));
      }
    });
  }
  for (const what of ["vms", "links", "folders"] as const) {
    metrics.orphans.inc({ what }, removed[what].length);
  }
  return removed;
}

async function look(host: Host): Promise<Found> {
  const { config } = host;
  const [vms, links, kept, running] = await Promise.all([
    host.driver.list(config.prefix),
    host.network.list(),
    namesIn(machinesFolder(config)),
    namesIn(join(config.run_folder, "machines")),
  ]);
  return { vms, links, folders: [...new Set([...kept, ...running])] };
}

async function namesIn(folder: string): Promise<string[]> {
  return existsSync(folder) ? await readdir(folder) : [];
}
