/** What happened to each machine, the newest LIFE_EVENTS_MAX of them: written with the change of state that each tells of. */
import { LIFE_EVENTS_MAX, LifeEvent, type MachineExit, type MachineState } from "../../contract/machine.ts";
import type { MachineEvent } from "../../machine/transition.ts";
import type { Store } from "./store.ts";

/** Each is kept LIFE_EVENTS_MAX times, so it is cut shorter than the row's own. */
const REASON_CHARS_MAX = 512;

export type LifeEventType = LifeEvent["type"];
export type LifeEventSource = LifeEvent["source"];
type Noted = Omit<LifeEvent, "id" | "at_ms">;

/** What an event of the transition table tells of. `exited` is told with how, once that is known: at `stopped`. */
const TYPES: Readonly<Record<MachineEvent, LifeEventType | null>> = {
  start: "start",
  booted: "start",
  boot_failed: "start",
  suspend: "suspend",
  suspended: "suspend",
  suspend_failed: "suspend",
  stop: "stop",
  stop_failed: "stop",
  exited: null,
  stopped: "exit",
  destroy: "destroy",
  destroyed: "destroy",
};

export interface Move {
  readonly event: MachineEvent;
  readonly from: MachineState;
  readonly to: MachineState;
  readonly exit: MachineExit | null;
  readonly reason: string | null;
  /** Where the mover knows better than the table. */
  readonly type?: LifeEventType;
  readonly source?: LifeEventSource;
}

/** Pure: what is to be noted of a move, or null. */
export function lifeEventOf({ event, from, to, exit, reason, type, source = "worker" }: Move): Noted | null {
  const plain = TYPES[event];
  if (plain === null) return null;
  // Told when the policy had judged it, before the machine came to rest for its restart.
  if (event === "stopped" && exit?.restarting === true) return null;
  const resumes = event === "start" && (from === "suspended" || from === "suspending");
  const withExit = event === "stopped" || event === "boot_failed";
  return {
    type: type ?? (resumes ? "resume" : plain),
    status: to,
    source,
    exit: withExit ? exit : null,
    reason,
  };
}

export function noteLifeEvent(store: Store, machineId: string, { exit, reason, ...event }: Noted): void {
  const short = (text: string | null) => text === null ? null : text.slice(0, REASON_CHARS_MAX);
  store.db.query(
    `INSERT INTO life_events (machine_id, at_ms, type, status, source, exit, reason)
     VALUES (?, ?, ?, ?, ?, ?, ?)`,
  ).run(
    machineId,
    store.now(),
    event.type,
    event.status,
    event.source,
    exit === null ? null : JSON.stringify({ ...exit, reason: short(exit.reason) }),
    short(reason),
  );
  store.db.query(
    `DELETE FROM life_events WHERE machine_id = ?1 AND id <=
       (SELECT id FROM life_events WHERE machine_id = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)`,
  ).run(machineId, LIFE_EVENTS_MAX);
}

/** Newest first. */
export function lifeEventsOf(store: Store, machineId: string): LifeEvent[] {
  return store.db.query<Record<string, unknown>, [string]>(
    `SELECT id, at_ms, type, status, source, exit, reason FROM life_events
     WHERE machine_id = ? ORDER BY id DESC`,
  ).all(machineId).map((row) =>
    LifeEvent.parse({ ...row, exit: row.exit === null ? null : JSON.parse(String(row.exit)) })
  );
}

export function deleteLifeEvents(store: Store, machineId: string): void {
  store.db.query("DELETE FROM life_events WHERE machine_id = ?").run(machineId);
}
