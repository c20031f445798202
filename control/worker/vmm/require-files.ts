/** Says which file a VM lacks before a VMM says it in its own words. */
import { existsSync } from "node:fs";
import { GodwitError } from "../../contract/errors.ts";

/** @throws GodwitError `vmm.file_missing` */
export function requireFiles(machineId: string, files: readonly string[]): void {
  const missing = files.find((file) => !existsSync(file));
  if (missing === undefined) return;
  throw new GodwitError("vmm.file_missing", `Cannot start machine ${machineId}: ${missing} is missing`, {
    fault: "us",
    hint: "files of the guest are made by `bun run images`; an image is made again by a new deploy",
  });
}
