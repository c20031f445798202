/** The pid of a VM's process, kept in the run folder so that the next agent finds it. Written in one step (rename). */
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { z } from "zod";
import { isAlive } from "./host-process.ts";

export const ProcessRecord = z.object({
  pid: z.number().int().min(1),
  /** See ProcessIdentity. */
  start_time: z.string(),
  /** Where this boot's part of the console file begins. */
  console_from: z.number().int().min(0),
});
export type ProcessRecord = z.infer<typeof ProcessRecord>;

export function writeRecord(file: string, record: ProcessRecord): void {
  writeFileSync(`${file}.new`, JSON.stringify(record), { mode: 0o600 });
  renameSync(`${file}.new`, file);
}

/** Null where there is none, or its process is gone. */
export function readLiveRecord(file: string): ProcessRecord | null {
  if (!existsSync(file)) return null;
  let record: ProcessRecord;
  try {
    record = ProcessRecord.parse(JSON.parse(readFileSync(file, "utf8")));
  } catch {
    return null; // Another version's record, or half of one after a power cut: the caller has a second way to look.
  }
  return isAlive(record) ? record : null;
}
