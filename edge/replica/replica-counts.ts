/** What a replica counts, whichever generation of its file it happens to. */

/** Table names come from outside: past this many different ones they count together. */
export const NAMES_COUNTED_MAX = 32;

export class ReplicaCounts {
  applied = 0;
  /** Events that came again, or too late. */
  old = 0;
  unknownColumns = 0;
  gaps = 0;
  reconnects = 0;
  /** From the owner's commit to being routed here, of the newest event. */
  lastLagMs: number | null = null;
  readonly quarantinedByReason: Record<string, number> = {};
  readonly unknownTables: Record<string, number> = {};

  quarantined(reason: string): void {
    count(this.quarantinedByReason, reason);
  }
  unknownTable(table: string): void {
    count(this.unknownTables, table);
  }
}

function count(counts: Record<string, number>, key: string): void {
  const bounded = key in counts || Object.keys(counts).length < NAMES_COUNTED_MAX ? key : "other";
  counts[bounded] = (counts[bounded] ?? 0) + 1;
}
