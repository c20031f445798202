/** Step run-config: reads what this machine is, from its private drive or its private file. */
import { closeSync, existsSync, openSync, readFileSync, readSync } from "node:fs";
import type { RunConfig } from "../../control/contract/run-config.ts";
import {
  DRIVES,
  RUN_CONFIG_BYTES_MAX,
  RUN_CONFIG_FILE,
  RUN_CONFIG_SCHEMA,
} from "../../control/contract/guest-limits.ts";
import { BootError, messageOf } from "../system/error.ts";

export type Mode = RunConfig["mode"];

/** A driver that runs containers puts a file there; a VM's root, the initramfs, has none. */
export function detectMode(): Mode {
  return existsSync(RUN_CONFIG_FILE) ? "container" : "vm";
}

export function readRunConfig(mode: Mode): RunConfig {
  const from = mode === "container" ? RUN_CONFIG_FILE : DRIVES.config;
  let bytes: Uint8Array;
  try {
    bytes = mode === "container" ? readFileSync(from) : readDrive(from);
  } catch (error) {
    throw new BootError(`Cannot read the run configuration from ${from}: ${messageOf(error)}`);
  }
  return parseRunConfig(bytes, mode, from);
}

/** JSON, then NULs to the end of the drive's last sector. */
export function parseRunConfig(bytes: Uint8Array, mode: Mode, from: string): RunConfig {
  const end = bytes.indexOf(0);
  const text = new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
  let config: RunConfig;
  try {
    config = JSON.parse(text);
  } catch {
    // What JSON.parse says quotes the text, which holds secrets.
    throw new BootError(
      `Cannot read the run configuration from ${from}: ${text.length} characters are not JSON`,
    );
  }
  if (config?.schema !== RUN_CONFIG_SCHEMA) {
    throw new BootError(
      `Cannot use the run configuration from ${from}: its schema is ${config?.schema}, this vm-init knows ${RUN_CONFIG_SCHEMA}`,
    );
  }
  if (config.mode !== mode) {
    throw new BootError(
      `Cannot use the run configuration from ${from}: it is for a ${config.mode}, this is a ${mode}`,
    );
  }
  return config;
}

/** A drive is read to its end, because its length is only known to the kernel. */
function readDrive(device: string): Uint8Array {
  const fd = openSync(device, "r");
  try {
    const chunks: Uint8Array[] = [];
    for (let bytes = 0; bytes < RUN_CONFIG_BYTES_MAX;) {
      const chunk = new Uint8Array(16_384);
      const count = readSync(fd, chunk, 0, chunk.length, null);
      chunks.push(chunk.subarray(0, count));
      bytes += count;
      if (count === 0 || chunk.subarray(0, count).includes(0)) break;
    }
    return Buffer.concat(chunks);
  } finally {
    closeSync(fd);
  }
}
