/**
 * What a virtual machine monitor must do for the worker. One interface, several drivers, one contract suite
 * (driver.contract.ts). A driver owns no durable state: everything it needs to find a VM again after the agent was
 * killed lies in the machine's folder and is named by its VmName, so `adopt` is a function of that alone.
 *
 * Every call can be repeated: `start` of a running VM adopts it, `kill` and `clean` of a gone one do nothing.
 */
import type { Duplex } from "node:stream";
import type { RunConfig } from "../../contract/run-config.ts";
import type { Guest } from "../../contract/machine.ts";

export type VmmName = "qemu" | "runc" | "firecracker";

export interface VmmProbe {
  readonly usable: boolean;
  /** `kvm`, `tcg` or `none`. */
  readonly acceleration: "kvm" | "tcg" | "none";
  /** Why not usable, or what a user should know. */
  readonly note: string;
}

/** All that names one VM. Derived from the machine's row; the same input gives the same spec after a restart. */
export interface VmSpec {
  readonly machineId: string;
  /** The machine's own folder, below GODWIT_HOME; logs, layer. QEMU's arguments name it. */
  readonly folder: string;
  /** The machine's own folder below the stack's run folder (/run/godwit-HASH/machines/ID): sockets, pid files; tmpfs. */
  readonly runFolder: string;
  /** Short prefix of kernel names of this stack, `gw` + 6 hex. */
  readonly prefix: string;
  readonly guest: Guest;
  /** Read-only erofs or ext4 file, shared by all machines of the image. */
  readonly imageFile: string;
  /** The machine's own ext4 file, sparse. */
  readonly layerFile: string;
  /** Host side of the machine's link: a tap for VMs, a veth for containers; null for no network. */
  readonly link: { readonly name: string; readonly mac: string } | null;
  readonly runConfig: RunConfig;
  /**
   * 0 for the first try of a start. The agent counts it up when a guest said nothing within its bound; from 2 on a
   * driver falls back on its safest machine type (qemu: q35 instead of microvm, see deploy/notes).
   */
  readonly attempt: number;
}

/** What names a VM on its host, known even where its image or its row is not: enough to find it and to remove it. */
export type VmName = Pick<VmSpec, "machineId" | "folder" | "runFolder" | "prefix">;

export interface VmExit {
  /** Of the VMM's process where it is known (null after adoption). */
  readonly vmmStatus: number | null;
  /** Where the VMM said why it ended, or the console held a boot failure. */
  readonly reason: string | null;
}

/** A VM that runs, or did a moment ago. */
export interface Vm {
  readonly machineId: string;
  /** The VMM's process on the host. */
  readonly pid: number;
  /** Opens the byte stream to vm-init. At most one at a time; the driver connects with patience until `exited`. */
  openControl(signal: AbortSignal): Promise<Duplex>;
  /** Resolves when the VMM's process is gone. */
  readonly exited: Promise<VmExit>;
  /** Ends the VM without asking the guest. Resolves when it is gone. */
  kill(): Promise<void>;
  /** The last bytes of the console, at most CONSOLE_TAIL_BYTES. */
  consoleTail(): Promise<string>;
  /** Forgets the handle without touching the VM (agent shutdown). */
  detach(): void;
}

export const CONSOLE_TAIL_BYTES = 16_384;
/** A console file, or a log of the VMM, longer than this is cut by the worker's housekeeping. */
export const CONSOLE_BYTES_MAX = 1_048_576;

export interface VmmDriver {
  readonly name: VmmName;
  /** `tap` for VMs; `veth`: the driver moves the peer into the container. */
  readonly linkKind: "tap" | "veth";
  /** Cheap to call again: the answer is kept for the process's life. A VM driver boots a guest to find out. */
  probe(): Promise<VmmProbe>;
  /** Starts the VM, or adopts it where it already runs. Resolves once the VMM runs, not when the guest is up. */
  start(spec: VmSpec): Promise<Vm>;
  /** The running VM of this name, or null. Never starts anything. */
  adopt(name: VmName): Promise<Vm | null>;
  /** Removes all that a VM of this name may have left on the host: process, mounts, cgroup, sockets. */
  clean(name: VmName): Promise<void>;
  /** Ids of machines of which anything is found on this host under this prefix (for the sweep for orphans). */
  list(prefix: string): Promise<string[]>;
}
