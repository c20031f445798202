/**
 * Makes what a machine needs before its first start: its folder, its own layer, its link's index. Copies nothing. A
 * failure takes all of it back, and the machine was never there.
 */
import { mkdir, rename, rm, statfs, truncate, writeFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { assert, GodwitError } from "../../contract/errors.ts";
import { type Host, layerFile, machineFolder } from "../host.ts";
import { deleteOfferOf } from "../store/offers.ts";
import { allocateLink, freeLink } from "../store/links.ts";
import { noteLifeEvent } from "../store/life-events.ts";
import { deleteUnmade, getMachine, patchMachine } from "../store/machines.ts";
import { imageOf, linkRequestOf } from "../vm-spec.ts";
import type { Operation } from "./operation.ts";

/** A layer is sparse and takes a few MB when made; below this the host's disk is as good as full. */
export const DISK_FREE_MB_MIN = 256;

export function create(host: Host): Operation {
  const { store, config } = host;
  return {
    kind: "create",
    onFailure: "undo",
    resumeAt: "intended",
    lane: "ordinary",
    steps: [
      {
        name: "image",
        run: async ({ machineId }) => void imageOf(host, getMachine(store, machineId)),
      },
      {
        name: "folder",
        run: async ({ machineId }) => {
          await mkdir(machineFolder(config, machineId), { recursive: true, mode: 0o700 });
        },
        undo: ({ machineId }) => rm(machineFolder(config, machineId), { recursive: true, force: true }),
      },
      {
        name: "layer",
        run: async ({ machineId, signal }) => {
          await checkDisk(config.state_folder, machineId);
          const file = layerFile(config, machineId);
          if (!existsSync(file)) await makeLayer(file, getMachine(store, machineId).spec.layer_mb, signal);
        },
        undo: ({ machineId }) => rm(layerFile(config, machineId), { force: true }),
      },
      {
        name: "link",
        run: async ({ machineId }) => {
          store.write(() => allocateLink(store, machineId));
          const request = linkRequestOf(host, getMachine(store, machineId));
          assert(request !== null, `machine ${machineId} has just got a link`);
          // Throws where the index lies beyond the range of addresses.
          host.network.addressesOf(request);
        },
        undo: async ({ machineId }) => store.write(() => freeLink(store, machineId)),
      },
    ],
    done: ({ machineId }) => {
      deleteOfferOf(store, machineId);
      patchMachine(store, machineId, { made: true });
      const launch = { type: "launch", status: "created", source: "api", exit: null, reason: null } as const;
      noteLifeEvent(store, machineId, launch);
    },
    failed: ({ machineId }) => {
      deleteOfferOf(store, machineId);
      deleteUnmade(store, machineId);
    },
  };
}

async function checkDisk(folder: string, machineId: string): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  const freeMb = Math.floor((bavail * bsize) / 1_048_576);
  if (freeMb >= DISK_FREE_MB_MIN) return;
  throw diskFull(machineId, `${folder} has ${freeMb} MB free, ${DISK_FREE_MB_MIN} are needed`);
}

function diskFull(machineId: string, what: string): GodwitError {
  return new GodwitError("worker.disk_full", `Cannot make the layer of machine ${machineId}: ${what}`, {
    fault: "us",
    retryable: true,
    hint: "free some space on the host, or place the machine on another",
  });
}

/** Made under another name first, so that a file of the right name is a whole file system. */
async function makeLayer(file: string, layerMb: number, signal: AbortSignal): Promise<void> {
  const draft = `${file}.new`;
  await rm(draft, { force: true });
  await writeFile(draft, "", { mode: 0o600 });
  await truncate(draft, layerMb * 1_048_576);
  const options = "lazy_itable_init=1,lazy_journal_init=1,nodiscard";
  const argv = ["mkfs.ext4", "-q", "-F", "-m", "0", "-E", options, "-L", "layer", draft];
  const child = Bun.spawn(argv, { stdin: "ignore", stdout: "ignore", stderr: "pipe", signal });
  const [status, errors] = await Promise.all([child.exited, new Response(child.stderr).text()]);
  if (status !== 0) {
    if (/no space left/i.test(errors)) throw diskFull(file, errors.trim().slice(-300));
    throw new GodwitError(
      "worker.mkfs_failed",
      `Cannot make file system ${file}: ${errors.trim().slice(-500)}`,
      {
        fault: "us",
        hint: "see whether mkfs.ext4 works on this host",
      },
    );
  }
  await rename(draft, file);
}
