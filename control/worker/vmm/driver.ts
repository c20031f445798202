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
  /** Token buckets of its devices; a driver that cannot hold them says so in `can`. */
  readonly rates: DeviceRates;
  /**
   * 0 for the first try of a start. The agent counts it up when a guest said nothing within its bound; from 2 on a
   * driver falls back on its safest machine type (qemu: q35 instead of microvm, see deploy/notes).
   */
  readonly attempt: number;
}

/** null: no limit. */
export interface DeviceRates {
  /** Of the writable layer: operations and bytes, reads and writes together. */
  readonly diskIops: number | null;
  readonly diskBytesPerS: number | null;
  /** Each way. The network holds each link to it (network/rate.ts); Firecracker's device does too. */
  readonly networkBytesPerS: number | null;
}

/** What a driver can do beside starting and ending machines. A test of the contract that needs one skips in these words. */
export interface VmmAbilities {
  /** Null, or why memory cannot be saved and taken up again. */
  readonly suspend: string | null;
  /** Null, or why DeviceRates are not held. */
  readonly rates: string | null;
}

export interface VmStats {
  /** User and system time of the VMM's process, since it started. */
  readonly cpuMs: number;
  /** Resident memory of the VMM's process, the guest's included. */
  readonly residentBytes: number;
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
  /**
   * Saves memory and devices into the machine's folder, encrypted with a key that lies in its run folder only, and ends
   * the VMM. Resolves when the saved state is whole and on disk and the VMM is gone; `exited` resolves too. Where it
   * fails, or `signal` is aborted before it is whole, the VM goes on running, and nothing of the attempt is left. A VM that
   * was paused when its agent died goes on when it is adopted. The control stream is hung up first, and no other opens
   * before it is known whether the VM goes on.
   * @throws GodwitError `vmm.suspend_failed` (retryable), `vmm.unsupported`
   */
  suspend(signal: AbortSignal): Promise<void>;
  stats(): Promise<VmStats>;
  /** The last bytes of the console, at most CONSOLE_TAIL_BYTES. */
  consoleTail(): Promise<string>;
  /** Forgets the handle without touching the VM (agent shutdown). */
  detach(): void;
}

export const CONSOLE_TAIL_BYTES = 16_384;
/** A console file, or a log of the VMM, longer than this is cut by the agent (consoles.ts). */
export const CONSOLE_BYTES_MAX = 1_048_576;

export interface VmmDriver {
  readonly name: VmmName;
  /** `tap` for VMs; `veth`: the driver moves the peer into the container. */
  readonly linkKind: "tap" | "veth";
  readonly can: VmmAbilities;
  /** Cheap to call again: the answer is kept for the process's life. A VM driver boots a guest to find out. */
  probe(): Promise<VmmProbe>;
  /** Starts the VM, or adopts it where it already runs. Resolves once the VMM runs, not when the guest is up. */
  start(spec: VmSpec): Promise<Vm>;
  /** Whether `resume` has something to go on from: whole, and its key is still on this host. */
  isSuspended(name: VmName): boolean;
  /**
   * Goes on where `suspend` left off; adopts where it already runs. What was saved is used up: memory that ran on must
   * never run twice. The same spec as at the start, but for `runConfig`, which the guest has read already.
   * @throws GodwitError `vmm.resume_failed`: nothing is left of it, the saved state included, so a start follows
   */
  resume(spec: VmSpec): Promise<Vm>;
  /** Drops what `suspend` saved, key first. Does nothing where there is nothing. */
  forget(name: VmName): Promise<void>;
  /** The running VM of this name, or null. Never starts anything. */
  adopt(name: VmName): Promise<Vm | null>;
  /** Removes all that a running VM of this name may have left on the host: process, mounts, cgroup, sockets. Not what it saved. */
  clean(name: VmName): Promise<void>;
  /** Ids of machines of which anything is found on this host under this prefix (for the sweep for orphans). */
  list(prefix: string): Promise<string[]>;
}
