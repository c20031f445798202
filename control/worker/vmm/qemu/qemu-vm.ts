/** A running QEMU: its exit, however it is learnt, and the ways into it. */
import type { Duplex } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { readConsoleTail, readTail } from "../console-file.ts";
import { openControlStream } from "../control-stream.ts";
import type { Vm, VmExit, VmSpec, VmStats } from "../driver.ts";
import { exitReason } from "../exit-reason.ts";
import { goneOf, isAlive, killAndWait } from "../host-process.ts";
import { Qmp, type QmpEvent } from "../qmp.ts";
import type { ProcessRecord } from "../process-record.ts";
import { processStats } from "../process-stats.ts";
import { unsupported } from "../unsupported.ts";
import type { QemuPaths } from "./qemu-paths.ts";

/** QMP's end wakes the watch at once; this is for a QMP socket that somebody else holds. */
const GONE_POLL_MS = 500;
const GREETING_MS_MAX = 10_000;

/**
 * A virtio-serial port has no connections, only a flag that the host is there: the guest must see it down before it is up
 * again, or the rest of the last conversation becomes the start of the next one.
 */
const RECONNECT_GAP_MS = 100;
/** By socket, since two handles of one VM share it. */
const controlClosedAt = new Map<string, number>();

export interface QemuVmInput {
  readonly spec: Pick<VmSpec, "machineId" | "folder">;
  readonly paths: QemuPaths;
  readonly record: ProcessRecord;
  /** Exit status of our own child; null where the process was adopted. */
  readonly status: Promise<number> | null;
}

export class QemuVm implements Vm {
  readonly machineId: string;
  readonly pid: number;
  readonly exited: Promise<VmExit>;
  readonly #input: QemuVmInput;
  readonly #detached = new AbortController();
  readonly #qmpClosed = Promise.withResolvers<void>();
  #qmp: Qmp | null = null;
  #killed = false;
  #event: string | null = null;

  constructor(input: QemuVmInput) {
    this.#input = input;
    this.machineId = input.spec.machineId;
    this.pid = input.record.pid;
    this.exited = this.#watch();
  }

  /** False where no QMP socket is there yet. Until this resolves true once, QEMU may still refuse its arguments. */
  async connectQmp(): Promise<boolean> {
    this.#qmp = await Qmp.connect(this.#input.paths.qmp, {
      onEvent: (event) => this.#remember(event),
      timeoutMs: GREETING_MS_MAX,
    });
    if (this.#qmp === null) return false;
    void this.#qmp.closed.then(() => this.#qmpClosed.resolve());
    return true;
  }

  async openControl(signal: AbortSignal): Promise<Duplex> {
    const { control } = this.#input.paths;
    const gapMs = (controlClosedAt.get(control) ?? -Infinity) + RECONNECT_GAP_MS - performance.now();
    if (gapMs > 0) await delay(gapMs, undefined, { signal });
    const stream = await openControlStream(control, this.exited, signal);
    stream.once("close", () => {
      if (isAlive(this.#input.record)) controlClosedAt.set(control, performance.now());
    });
    return stream;
  }

  async kill(): Promise<void> {
    this.#killed = true;
    await killAndWait(this.#input.record);
  }

  suspend(): Promise<void> {
    return Promise.reject(unsupported("suspend", this.machineId, "it comes next"));
  }

  stats(): Promise<VmStats> {
    return Promise.resolve(processStats(this.pid));
  }

  consoleTail(): Promise<string> {
    return Promise.resolve(readConsoleTail(this.#input.spec.folder));
  }

  detach(): void {
    this.#detached.abort();
    this.#qmp?.close();
  }

  /** QEMU's stdout and stderr. */
  output(): string {
    return readTail(this.#input.paths.output);
  }

  async #watch(): Promise<VmExit> {
    const vmmStatus = await (this.#input.status ?? this.#adoptedGone());
    if (this.#detached.signal.aborted) return new Promise(() => {});
    const reason = this.#killed ? null : exitReason({
      console: readConsoleTail(this.#input.spec.folder, this.#input.record.console_from),
      vmmStatus,
      vmmOutput: this.output(),
      event: this.#event,
    });
    this.#qmp?.close();
    controlClosedAt.delete(this.#input.paths.control);
    return { vmmStatus, reason };
  }

  async #adoptedGone(): Promise<null> {
    await goneOf(this.#input.record, GONE_POLL_MS, this.#detached.signal, this.#qmpClosed.promise);
    return null;
  }

  #remember(event: QmpEvent): void {
    if (event.event === "GUEST_PANICKED") this.#event = "GUEST_PANICKED";
    if (event.event === "SHUTDOWN") this.#event ??= String(event.data?.reason ?? "SHUTDOWN");
  }
}
