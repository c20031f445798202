/** The machines of this host: rows, and the one way to change their state. Each visible change is published with it. */
import { z } from "zod";
import { assert } from "../../contract/errors.ts";
import { MachineExit, MachineSpec, MachineState, type MachineView } from "../../contract/machine.ts";
import type { MachineRow } from "../../contract/rows.ts";
import { refusal } from "../../machine/refusal.ts";
import { type Asked, type MachineEvent, transition } from "../../machine/transition.ts";
import {
  deleteLifeEvents,
  lifeEventOf,
  lifeEventsOf,
  type LifeEventSource,
  type LifeEventType,
  noteLifeEvent,
} from "./life-events.ts";
import { enqueue } from "./outbox.ts";
import type { Store } from "./store.ts";

export type Desired = "started" | "stopped";

export interface Machine {
  readonly id: string;
  readonly spec: MachineSpec;
  readonly state: MachineState;
  /** False until the create operation is through. */
  readonly made: boolean;
  readonly desired: Desired;
  readonly cordoned: boolean;
  readonly address4: string | null;
  readonly address6: string | null;
  readonly last_exit: MachineExit | null;
  /** By the restart policy, since it was last started by request. */
  readonly restarts: number;
  /** When, oldest first; bounded (RESTART_TIMES_KEPT). */
  readonly restarts_at_ms: readonly number[];
  readonly reason: string | null;
  readonly created_at_ms: number;
  readonly updated_at_ms: number;
  readonly started_at_ms: number | null;
}

/** Columns that a change of state may set along with it. */
export type MachinePatch = Partial<
  Pick<
    Machine,
    | "desired"
    | "cordoned"
    | "address4"
    | "address6"
    | "last_exit"
    | "restarts"
    | "restarts_at_ms"
    | "reason"
    | "started_at_ms"
    | "made"
  >
>;

const RestartTimes = z.array(z.number().int());
type Row = Record<string, string | number | null>;

function parse(row: Row): Machine {
  return {
    id: String(row.id),
    spec: MachineSpec.parse(JSON.parse(String(row.spec))),
    state: MachineState.parse(row.state),
    made: row.made === 1,
    desired: row.desired === "started" ? "started" : "stopped",
    cordoned: row.cordoned === 1,
    address4: row.address4 as string | null,
    address6: row.address6 as string | null,
    last_exit: row.last_exit === null ? null : MachineExit.parse(JSON.parse(String(row.last_exit))),
    restarts: Number(row.restarts),
    restarts_at_ms: RestartTimes.parse(JSON.parse(String(row.restarts_at_ms))),
    reason: row.reason as string | null,
    created_at_ms: Number(row.created_at_ms),
    updated_at_ms: Number(row.updated_at_ms),
    started_at_ms: row.started_at_ms as number | null,
  };
}

export function findMachine(store: Store, id: string): Machine | null {
  const row = store.db.query<Row, [string]>("SELECT * FROM machines WHERE id = ?").get(id);
  return row === null ? null : parse(row);
}

/** The machine of an operation: it must be there. */
export function getMachine(store: Store, id: string): Machine {
  const machine = findMachine(store, id);
  assert(machine !== null, `machine ${id} has an operation and no row`);
  return machine;
}

export function listMachines(store: Store, appId: string | null = null): Machine[] {
  return store.db.query<Row, [string | null, string | null]>(
    "SELECT * FROM machines WHERE (? IS NULL OR app_id = ?) ORDER BY created_at_ms, id",
  ).all(appId, appId).map(parse);
}

/** What placement asks again and again: without parsing each specification, whose env may be large. */
export function machineSizes(store: Store): { id: string; state: MachineState; memory_mb: number }[] {
  return store.db.query<{ id: string; state: string; memory_mb: number }, []>(
    "SELECT id, state, json_extract(spec, '$.guest.memory_mb') AS memory_mb FROM machines",
  ).all().map(({ id, state, memory_mb }) => ({ id, state: MachineState.parse(state), memory_mb }));
}

export function insertMachine(store: Store, spec: MachineSpec): void {
  const now = store.now();
  store.db.query(
    `INSERT INTO machines (id, app_id, spec, state, made, desired, created_at_ms, updated_at_ms)
     VALUES (?, ?, ?, 'created', 0, 'stopped', ?, ?)`,
  ).run(spec.id, spec.app_id, JSON.stringify(spec), now, now);
}

/** Takes back a machine that was never made. */
export function deleteUnmade(store: Store, id: string): void {
  store.db.query("DELETE FROM machines WHERE id = ? AND made = 0").run(id);
}

/** Forgets destroyed machines whose tombstones Redis has and that nobody asks for any more. Returns their ids. */
export function pruneDestroyed(store: Store, olderThanMs: number): string[] {
  return store.write(() => {
    const ids = store.db.query<{ id: string }, [number, string]>(
      `DELETE FROM machines WHERE state = 'destroyed' AND updated_at_ms < ?
       AND NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.key = ? || machines.id) RETURNING id`,
    ).all(olderThanMs, `machines ${store.identity.host_id}/`).map((row) => row.id);
    for (const id of ids) deleteLifeEvents(store, id);
    return ids;
  });
}

/** What a machine's list of events says of a move beyond the move itself. */
export interface Told {
  readonly type?: LifeEventType;
  /** @default "worker" */
  readonly source?: LifeEventSource;
}

/**
 * Moves a machine by `event`, sets `patch`, notes the move among its events and publishes the whole row, in the caller's
 * transaction. An event that changes nothing leaves the row alone, patch included.
 *
 * @returns whether the state moved
 * @throws GodwitError as `refusal` makes it
 */
export function moveMachine(
  store: Store,
  id: string,
  event: MachineEvent,
  patch: MachinePatch = {},
  told: Told = {},
): boolean {
  const machine = getMachine(store, id);
  const next = transition(machine.state, event);
  if (next.kind === "refuse") throw refusal(id, machine.state, event as Asked, next);
  if (next.kind === "stay") return false;
  save(store, { ...machine, ...patch, state: next.to, spec: scrub(machine.spec, next.to) });
  const { last_exit: exit = null, reason = null } = patch;
  const noted = lifeEventOf({ event, from: machine.state, to: next.to, exit, reason, ...told });
  if (noted !== null) noteLifeEvent(store, id, noted);
  return true;
}

/** Changes columns that do not depend on the state, and publishes. */
export function patchMachine(store: Store, id: string, patch: MachinePatch): void {
  save(store, { ...getMachine(store, id), ...patch });
}

/** A destroyed machine's row stays for a while for those who wait for it; what it was told in confidence does not. */
function scrub(spec: MachineSpec, state: MachineState): MachineSpec {
  return state === "destroyed" ? { ...spec, env: {}, files: [], processes: [] } : spec;
}

function save(store: Store, machine: Machine): void {
  store.db.query(
    `UPDATE machines SET spec = ?, state = ?, made = ?, desired = ?, cordoned = ?, address4 = ?, address6 = ?,
       last_exit = ?, restarts = ?, restarts_at_ms = ?, reason = ?, started_at_ms = ?, updated_at_ms = ? WHERE id = ?`,
  ).run(
    JSON.stringify(machine.spec),
    machine.state,
    machine.made ? 1 : 0,
    machine.desired,
    machine.cordoned ? 1 : 0,
    machine.address4,
    machine.address6,
    machine.last_exit === null ? null : JSON.stringify(machine.last_exit),
    machine.restarts,
    JSON.stringify(machine.restarts_at_ms),
    machine.reason,
    machine.started_at_ms,
    store.now(),
    machine.id,
  );
  store.touch(machine.id);
  if (machine.made) enqueue(store, "machines", rowOf(store, machine), machine.state === "destroyed");
}

/** The routing projection: what the edges get to know of a machine. */
export function rowOf(store: Store, machine: Machine): MachineRow {
  return {
    id: machine.id,
    app_id: machine.spec.app_id,
    host_id: store.identity.host_id,
    region: store.identity.region,
    release_id: machine.spec.release_id,
    state: machine.state,
    cordoned: machine.cordoned,
    address4: machine.address4,
    address6: machine.address6,
    services: machine.spec.services,
    started_at_ms: machine.started_at_ms,
  };
}

/** The same with what happened to it. */
export function viewWithEvents(store: Store, machine: Machine): MachineView {
  return { ...viewOf(store, machine), events: lifeEventsOf(store, machine.id) };
}

/** What the worker API shows: everything but the env. */
export function viewOf(store: Store, machine: Machine): MachineView {
  const { spec } = machine;
  return {
    id: machine.id,
    app_id: spec.app_id,
    app_name: spec.app_name,
    org_id: spec.org_id,
    release_id: spec.release_id,
    host_id: store.identity.host_id,
    region: store.identity.region,
    state: machine.state,
    image: spec.image,
    guest: spec.guest,
    services: spec.services,
    address4: machine.address4,
    address6: machine.address6,
    cordoned: machine.cordoned,
    vmm: store.identity.vmm,
    last_exit: machine.last_exit,
    restarts: machine.restarts,
    reason: machine.reason,
    created_at_ms: machine.created_at_ms,
    updated_at_ms: machine.updated_at_ms,
    started_at_ms: machine.started_at_ms,
  };
}
