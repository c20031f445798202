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
  /** Times that a stream was read again because an owner's key came after its entries. */
  rewinds = 0;
  digests = 0;
  digestMismatches = 0;
  /** From the owner's commit to being routed here, of the newest event. */
  lastLagMs: number | null = null;
  quarantinedByReason: Record<string, number> = {};
  quarantinedByOwner: Record<string, number> = {};
  unknownTables: Record<string, number> = {};

  /** A generation that takes over counts on where the one before it stood. */
  continueFrom(before: ReplicaCounts): void {
    Object.assign(this, before);
  }

  quarantined(reason: string, owner: string): void {
    count(this.quarantinedByReason, reason);
    count(this.quarantinedByOwner, owner);
  }
  unknownTable(table: string): void {
    count(this.unknownTables, table);
  }
}

function count(counts: Record<string, number>, key: string): void {
  const bounded = Object.hasOwn(counts, key) || Object.keys(counts).length < NAMES_COUNTED_MAX
    ? key
    : "other";
  counts[bounded] = (counts[bounded] ?? 0) + 1;
}
