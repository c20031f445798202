/** Entries for tests, well-formed or not. */
import { ENTRY } from "./events.ts";

/** @param events as JSON, whatever it says; the entry's owner is the first one's */
export function rawBatch(...events: string[]): string[] {
  const owner = /"owner":"([^"]*)"/.exec(events[0] ?? "")?.[1] ?? "api";
  return [ENTRY.owner, owner, ENTRY.batch, `[${events.join(",")}]`];
}
