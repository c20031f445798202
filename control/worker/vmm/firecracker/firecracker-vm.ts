/** A running Firecracker: its exit, however it is learnt, and the ways into it. */
import { existsSync, rmSync } from "node:fs";
import type { Duplex } from "node:stream";
import { GodwitError, messageOf } from "../../../contract/errors.ts";
import { CONTROL_VSOCK_PORT } from "../../../contract/run-config.ts";
import { readConsoleTail, readTail } from "../console-file.ts";
import type { Vm, VmExit, VmName, VmStats } from "../driver.ts";
import { exitReason } from "../exit-reason.ts";
import { killAndWait } from "../host-process.ts";
import { goneOf } from "../process-ends.ts";
import type { ProcessRecord } from "../process-record.ts";
import { processStats } from "../process-stats.ts";
import { FirecrackerApi } from "./api-client.ts";
import { apiRequest } from "./api-types.ts";
import type { FirecrackerPaths } from "./firecracker-paths.ts";
import { requireHostMemory } from "./host-memory.ts";
import { removeJail } from "./jail.ts";
import { type MetricsLine, Pipes } from "./pipes.ts";
import { IN_JAIL } from "./requests.ts";
import { forgetSaved, seal } from "./saved-memory.ts";
import { openVsockStream } from "./vsock-stream.ts";

const MIB = 1_048_576;
/** It writes the whole of a guest's memory before it answers. */
const SNAPSHOT_WAIT_MS_MAX = 120_000;

export interface FirecrackerVmInput {
  readonly name: VmName;
  readonly paths: FirecrackerPaths;
  readonly record: ProcessRecord;
  /** Exit status of our own child; null where the process was adopted. */
  readonly status: Promise<number> | null;
}

export class FirecrackerVm implements Vm {
  readonly machineId: string;
  readonly pid: number;
  readonly exited: Promise<VmExit>;
  readonly #input: FirecrackerVmInput;
  readonly #pipes: Pipes;
  readonly #detached = new AbortController();
  readonly #hungUp = Promise.withResolvers<void>();
  /** Held open for its end, which tells that of the process. */
  #watched: FirecrackerApi | null = null;
  #control: Duplex | null = null;
  /** While memory is saved nobody talks to the guest: what was said then would be lost with the connection. */
  #quiet: Promise<void> = Promise.resolve();
  #killed = false;

  constructor(input: FirecrackerVmInput) {
    this.#input = input;
    this.machineId = input.name.machineId;
    this.pid = input.record.pid;
    this.#pipes = new Pipes(input.paths);
    this.exited = this.#watch();
    if (input.status === null) void this.#watchApi();
  }

  async openControl(signal: AbortSignal): Promise<Duplex> {
    await Promise.race([this.#quiet, aborted(signal)]);
    const path = this.#input.paths.inJail("vsock");
    const stream = await openVsockStream(path, CONTROL_VSOCK_PORT, this.exited, signal);
    return this.#control = stream;
  }

  async kill(): Promise<void> {
    this.#killed = true;
    await killAndWait(this.#input.record);
  }

  async suspend(signal: AbortSignal): Promise<void> {
    const { name, paths } = this.#input;
    const quiet = Promise.withResolvers<void>();
    this.#quiet = quiet.promise;
    try {
      signal.throwIfAborted();
      this.#control?.destroy();
      await this.#save(signal);
      await this.kill();
      await removeJail(name, paths);
      rmSync(paths.record, { force: true });
    } catch (error) {
      throw suspendFailed(this.machineId, error);
    } finally {
      quiet.resolve();
    }
  }

  stats(): Promise<VmStats> {
    return Promise.resolve(processStats(this.pid));
  }

  /** The newest of its metrics, asked for now. @throws GodwitError `vmm.api_failed`, `vmm.api_refused` */
  async metrics(): Promise<MetricsLine | null> {
    const api = await this.#api();
    try {
      await api.send(apiRequest("action", { action_type: "FlushMetrics" }));
    } finally {
      api.close();
    }
    this.#pipes.drain();
    return this.#pipes.metrics;
  }

  consoleTail(): Promise<string> {
    return Promise.resolve(readConsoleTail(this.#input.name.folder));
  }

  detach(): void {
    this.#detached.abort();
    this.#watched?.close();
    this.#pipes.close();
  }

  /** stderr and log. */
  output(): string {
    this.#pipes.drain();
    return readTail(this.#input.paths.output);
  }

  /** Of a VM that was paused when its agent died: it goes on, and what was saved of it is used up. */
  async goOn(): Promise<void> {
    const { paths } = this.#input;
    forgetSaved(paths);
    removeSnapshot(paths);
    const api = await this.#api();
    try {
      await api.send(apiRequest("vm", { state: "Resumed" }));
    } finally {
      api.close();
    }
  }

  async #save(signal: AbortSignal): Promise<void> {
    const { paths } = this.#input;
    const api = await this.#api();
    try {
      const { vmm_version } = await api.describe();
      requireHostMemory(await api.memoryMib() * MIB);
      await api.send(apiRequest("vm", { state: "Paused" }));
      removeSnapshot(paths);
      const files = { snapshot_path: IN_JAIL.state, mem_file_path: IN_JAIL.memory } as const;
      await api.send(
        apiRequest("snapshotCreate", { snapshot_type: "Full", ...files }),
        SNAPSHOT_WAIT_MS_MAX,
      );
      await seal(paths, { machineId: this.machineId, vmmVersion: vmm_version, signal });
    } catch (error) {
      api.close();
      // The first failure is the one to tell; a VM that cannot go on either is one that hangs, which its watchers meet.
      await this.goOn().catch(() => {});
      throw error;
    } finally {
      api.close();
    }
  }

  async #api(): Promise<FirecrackerApi> {
    const path = this.#input.paths.inJail("api");
    const api = await FirecrackerApi.connect(path);
    if (api !== null) return api;
    throw new GodwitError("vmm.api_failed", `Firecracker did not answer: nobody listens at ${path}`, {
      fault: "us",
      retryable: true,
    });
  }

  async #watch(): Promise<VmExit> {
    const vmmStatus = await (this.#input.status ?? this.#adoptedGone());
    if (this.#detached.signal.aborted) return new Promise(() => {});
    const reason = this.#killed ? null : exitReason({
      console: readConsoleTail(this.#input.name.folder, this.#input.record.console_from),
      vmmStatus,
      vmmOutput: this.output(),
      event: null,
    });
    this.#watched?.close();
    this.#pipes.close();
    return { vmmStatus, reason };
  }

  async #adoptedGone(): Promise<null> {
    await goneOf(this.#input.record, this.#detached.signal, this.#hungUp.promise);
    return null;
  }

  async #watchApi(): Promise<void> {
    try {
      this.#watched = await this.#api();
    } catch {
      return; // Its end is still seen in /proc, only less quickly.
    }
    if (this.#detached.signal.aborted) return this.#watched.close();
    await this.#watched.closed;
    this.#hungUp.resolve();
  }
}

/** A snapshot that this VM goes on from is mapped: its file is never written again, only let go of. */
export function removeSnapshot(paths: FirecrackerPaths): void {
  for (const file of [paths.inJail("memory"), paths.inJail("state")]) {
    if (existsSync(file)) rmSync(file, { force: true });
  }
}

function suspendFailed(machineId: string, error: unknown): GodwitError {
  return new GodwitError("vmm.suspend_failed", `Cannot suspend machine ${machineId}: ${messageOf(error)}`, {
    fault: "us",
    retryable: true,
    hint: "the machine goes on running; stop it, or ask again",
    cause: error,
  });
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
  });
}
