/** A running container. Its init is no child of the agent (runc hands it over), so its end is seen by process-ends.ts. */
import type { Duplex } from "node:stream";
import { readConsoleTail } from "../console-file.ts";
import { openControlStream } from "../control-stream.ts";
import type { Vm, VmExit, VmSpec, VmStats } from "../driver.ts";
import { exitReason } from "../exit-reason.ts";
import { killAndWait } from "../host-process.ts";
import { goneOf } from "../process-ends.ts";
import type { RuncPaths } from "./runc-paths.ts";
import type { ProcessRecord } from "../process-record.ts";
import { processStats } from "../process-stats.ts";
import { unsupported } from "../unsupported.ts";

export class RuncVm implements Vm {
  readonly machineId: string;
  readonly pid: number;
  readonly exited: Promise<VmExit>;
  readonly #detached = new AbortController();
  readonly #hint = Promise.withResolvers<void>();

  readonly #spec: Pick<VmSpec, "machineId" | "folder">;
  readonly #paths: RuncPaths;
  readonly #record: ProcessRecord;

  constructor(spec: Pick<VmSpec, "machineId" | "folder">, paths: RuncPaths, record: ProcessRecord) {
    this.#spec = spec;
    this.#paths = paths;
    this.#record = record;
    this.machineId = spec.machineId;
    this.pid = record.pid;
    this.exited = this.#watch();
  }

  async openControl(signal: AbortSignal): Promise<Duplex> {
    const stream = await openControlStream(this.#paths.controlSocket, this.exited, signal);
    stream.once("close", () => this.#hint.resolve());
    return stream;
  }

  /** The end of a PID namespace's first process ends all of it. */
  async kill(): Promise<void> {
    await killAndWait(this.#record);
  }

  suspend(): Promise<void> {
    return Promise.reject(unsupported("suspend", this.machineId, "runc saves no memory"));
  }

  stats(): Promise<VmStats> {
    return Promise.resolve(processStats(this.pid));
  }

  consoleTail(): Promise<string> {
    return Promise.resolve(readConsoleTail(this.#spec.folder));
  }

  detach(): void {
    this.#detached.abort();
  }

  async #watch(): Promise<VmExit> {
    await goneOf(this.#record, this.#detached.signal, this.#hint.promise);
    const console = readConsoleTail(this.#spec.folder, this.#record.console_from);
    return { vmmStatus: null, reason: exitReason({ console, vmmStatus: null, vmmOutput: "", event: null }) };
  }
}
