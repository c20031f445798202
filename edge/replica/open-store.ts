/** What a replica finds at its start, and what it begins with. */
import { messageOf } from "../../control/contract/errors.ts";
import type { SqlDatabase } from "../runtime/sqlite-port.ts";
import type { ReplicaFiles } from "./ports.ts";
import { whyUnusable } from "./replica-schema.ts";
import { type ReplicaStore, storeIn } from "./replica-store.ts";
import { type HistoryLimits, NO_HISTORY } from "./row-history.ts";

export interface OpenedStore {
  /** Null where the present generation is of another schema: it serves until one of ours has been built. */
  readonly store: ReplicaStore | null;
  /** Why the file that was there is not used; null where it is, or where there was none. */
  readonly unusable: { readonly kind: "schema" | "corrupt"; readonly detail: string } | null;
  /** The present generation, where it is of another schema. */
  readonly earlier: SqlDatabase | null;
  /** It has read nothing yet. */
  readonly fresh: boolean;
}

/**
 * Opens the present generation. One that SQLite cannot read is set aside, and an empty one takes its place; one of another
 * schema goes on serving.
 * @throws where a file cannot be opened now and may be whole: it is full, locked, or somebody else's
 */
export function openStore(files: ReplicaFiles, history: HistoryLimits = NO_HISTORY): OpenedStore {
  let unusable: OpenedStore["unusable"] = null;
  try {
    const database = files.openCurrent();
    if (database !== null) {
      unusable = whyUnusable(database);
      if (unusable === null) {
        const store = storeIn(database, history);
        return { store, unusable, earlier: null, fresh: store.positions().size === 0 };
      }
      if (unusable.kind === "schema") {
        return { store: null, unusable, earlier: database, fresh: true };
      }
      database.close();
    }
  } catch (error) {
    if (!isCorruption(error)) throw error;
    unusable = { kind: "corrupt", detail: messageOf(error) };
  }
  const store = storeIn(files.createNext(), history);
  const earlier = files.takeOver();
  if (unusable !== null && earlier !== null) files.setAside(earlier);
  files.prune();
  return { store, unusable, earlier: null, fresh: true };
}

/** SQLITE_CORRUPT and SQLITE_NOTADB in SQLite's words: both bindings pass those on, and their codes differ. */
export function isCorruption(error: unknown): boolean {
  return /malformed|not a database|corrupt|no such table|no such column/i.test(messageOf(error));
}
