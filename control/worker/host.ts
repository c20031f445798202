/** What operations act upon: the one host that this agent runs on, with its stores, drivers and links. */
import { join } from "node:path";
import type { Logger } from "pino";
import type { WorkerConfig } from "../contract/process-config.ts";
import type { ImageStore } from "./images/image-store.ts";
import type { Logs } from "./logs.ts";
import type { Metrics } from "./metrics.ts";
import type { Network } from "./network/network.ts";
import type { Store } from "./store/store.ts";
import type { VmmDriver, VmmProbe } from "./vmm/driver.ts";
import type { Watchers } from "./watchers.ts";

export interface Host {
  readonly config: WorkerConfig;
  readonly store: Store;
  readonly driver: VmmDriver;
  readonly probe: VmmProbe;
  readonly network: Network;
  readonly images: ImageStore;
  readonly watchers: Watchers;
  readonly logs: Logs;
  readonly metrics: Metrics;
  readonly log: Logger;
}

/** Signs what this host publishes. */
export function publisherKeyFile(config: WorkerConfig): string {
  return join(config.state_folder, "publisher-key.pem");
}
/** Holds a folder for each machine: its layer, its console. */
export function machinesFolder(config: WorkerConfig): string {
  return join(config.state_folder, "machines");
}
export function machineFolder(config: WorkerConfig, machineId: string): string {
  return join(machinesFolder(config), machineId);
}
export function machineRunFolder(config: WorkerConfig, machineId: string): string {
  return join(config.run_folder, "machines", machineId);
}
export function layerFile(config: WorkerConfig, machineId: string): string {
  return join(machineFolder(config, machineId), "layer.ext4");
}
/** What a driver needs to clean up after a machine, known even where the machine's row is not. */
export function remainsOf(config: WorkerConfig, machineId: string) {
  return {
    machineId,
    folder: machineFolder(config, machineId),
    runFolder: machineRunFolder(config, machineId),
    prefix: config.prefix,
  };
}
