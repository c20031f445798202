/** A running QEMU: its exit, however it is learnt, and the ways into it. */
import { rmSync } from "node:fs";
import type { Duplex } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { GodwitError } from "../../../contract/errors.ts";
import { readConsoleTail, readTail } from "../console-file.ts";
import { openControlStream } from "../control-stream.ts";
import type { Vm, VmExit, VmSpec, VmStats } from "../driver.ts";
import { exitReason } from "../exit-reason.ts";
import { isAlive, killAndWait } from "../host-process.ts";
import { goneOf } from "../process-ends.ts";
import { Qmp, type QmpEvent } from "../qmp.ts";
import type { ProcessRecord } from "../process-record.ts";
import { processStats } from "../process-stats.ts";
import { goOn, saveMemory, suspendFailed } from "./save-memory.ts";
import { runState } from "./migration.ts";
import type { QemuPaths } from "./qemu-paths.ts";
import { forgetSaved } from "./saved-memory.ts";

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
  #connecting: Promise<boolean> | null = null;
  #control: Duplex | null = null;
  /** While memory is saved nobody talks to the guest: it must find its port closed when it goes on. */
  #quiet: Promise<void> = Promise.resolve();
  #killed = false;
  #event: string | null = null;

  constructor(input: QemuVmInput) {
    this.#input = input;
    this.machineId = input.spec.machineId;
    this.pid = input.record.pid;
    this.exited = this.#watch();
  }

  /**
   * False where no QMP socket is there yet. Until this resolves true once, QEMU may still refuse its arguments. One try at
   * a time: QEMU serves one client, and a second of ours would wait behind the first.
   */
  connectQmp(): Promise<boolean> {
    return this.#connecting ??= this.#connect().finally(() => this.#connecting = null);
  }

  async #connect(): Promise<boolean> {
    if (this.#qmp !== null) return true;
    const qmp = await Qmp.connect(this.#input.paths.qmp, {
      onEvent: (event) => this.#remember(event),
      timeoutMs: GREETING_MS_MAX,
    });
    if (qmp === null) return false;
    // Let go of meanwhile: QMP belongs to the next handle.
    if (this.#detached.signal.aborted) qmp.close();
    this.#qmp = qmp;
    void qmp.closed.then(() => {
      this.#qmp = null;
      this.#qmpClosed.resolve();
    });
    return true;
  }

  async openControl(signal: AbortSignal): Promise<Duplex> {
    const { control } = this.#input.paths;
    await Promise.race([this.#quiet, aborted(signal)]);
    const gapMs = (controlClosedAt.get(control) ?? -Infinity) + RECONNECT_GAP_MS - performance.now();
    if (gapMs > 0) await delay(gapMs, undefined, { signal });
    const stream = await openControlStream(control, this.exited, signal);
    stream.once("close", () => {
      if (isAlive(this.#input.record)) controlClosedAt.set(control, performance.now());
      if (this.#control === stream) this.#control = null;
    });
    return this.#control = stream;
  }

  async kill(): Promise<void> {
    this.#killed = true;
    await killAndWait(this.#input.record);
  }

  async suspend(signal: AbortSignal): Promise<void> {
    const { paths, record } = this.#input;
    const quiet = Promise.withResolvers<void>();
    this.#quiet = quiet.promise;
    try {
      await this.#hangUp(signal);
      const qmp = await this.qmp();
      await saveMemory({ machineId: this.machineId, pid: record.pid, paths, qmp, signal });
      await this.kill();
      rmSync(paths.moving, { force: true });
    } catch (error) {
      throw suspendFailed(this.machineId, error);
    } finally {
      quiet.resolve();
    }
  }

  /**
   * Of a VM whose memory was on its way when its agent died: one that was paused goes on, and what was saved of it is
   * used up. False where it has not got its own memory yet: then it is nothing but a process.
   */
  async settle(): Promise<boolean> {
    const { paths } = this.#input;
    const qmp = await this.qmp();
    if (await runState(qmp) === "inmigrate") return false;
    forgetSaved(paths);
    await goOn(qmp, paths);
    return true;
  }

  /** The connection of this handle. @throws GodwitError `vmm.qmp_failed` */
  async qmp(): Promise<Qmp> {
    await this.connectQmp();
    if (this.#qmp === null) throw qmpAway(this.#input.paths.qmp);
    return this.#qmp;
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

  /** The guest sees its port go down, so that nothing of this conversation is saved with it. */
  async #hangUp(signal: AbortSignal): Promise<void> {
    this.#control?.destroy();
    const { control } = this.#input.paths;
    const gapMs = (controlClosedAt.get(control) ?? -Infinity) + RECONNECT_GAP_MS - performance.now();
    const closing = this.#control === null ? 0 : RECONNECT_GAP_MS;
    const waitMs = Math.max(gapMs, closing);
    if (waitMs > 0) await delay(waitMs, undefined, { signal });
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
    await goneOf(this.#input.record, this.#detached.signal, this.#qmpClosed.promise);
    return null;
  }

  #remember(event: QmpEvent): void {
    if (event.event === "GUEST_PANICKED") this.#event = "GUEST_PANICKED";
    if (event.event === "SHUTDOWN") this.#event ??= String(event.data?.reason ?? "SHUTDOWN");
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
  });
}

function qmpAway(path: string): GodwitError {
  return new GodwitError("vmm.qmp_failed", `QMP: nobody listens at ${path}`, {
    fault: "us",
    retryable: true,
  });
}
