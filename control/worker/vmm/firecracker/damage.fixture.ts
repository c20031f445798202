/** Changes a byte of what a suspend saved. */
import { closeSync, openSync, writeSync } from "node:fs";
import type { VmName } from "../driver.ts";
import { firecrackerPaths } from "./firecracker-paths.ts";

/** Behind the header, in the first record. */
const PLACE = 2_000;

export function damage(name: VmName, execFile: string): void {
  const file = openSync(firecrackerPaths(name, execFile).saved, "r+");
  writeSync(file, "x", PLACE);
  closeSync(file);
}
