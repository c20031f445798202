import { GodwitError } from "../../contract/errors.ts";
import {
  LIFE_EVENTS_MAX,
  type LifeEvent as LifeEventShape,
  MachineExit as MachineExitShape,
  MachineState as States,
} from "../../contract/machine.ts";
import { appById } from "../../store/apps.ts";
import type { MachineLine } from "../../store/machines.ts";
import { type Release, releaseById } from "../../store/releases.ts";
import type { RequestContext } from "../context.ts";
import type { SeenMachine } from "../machine-views.ts";
import { findOwnMachine } from "../not-found.ts";
import { AppRef } from "./app.ts";
import { builder } from "./builder.ts";
import { GuestRef } from "./guest.ts";
import { ReleaseRef } from "./release.ts";

/** What a resolver returns: a line of the ledger, or one whose worker has just answered. */
export type MachineSource = MachineLine & { readonly seen?: SeenMachine };

export const MachineRef = builder.objectRef<MachineSource>("Machine");

type State = Uppercase<States> | "UNKNOWN";
const stateValues = [...States.options.map((s) => s.toUpperCase() as Uppercase<States>), "UNKNOWN"] as const;
const MachineState = builder.enumType("MachineState", { values: stateValues });

const MachineExit = builder.objectRef<MachineExitShape>("MachineExit").implement({
  fields: (t) => ({
    exitCode: t.exposeInt("exit_code", { nullable: true }),
    signal: t.exposeString("signal", { nullable: true }),
    oomKilled: t.exposeBoolean("oom_killed"),
    requested: t.exposeBoolean("requested"),
    restarting: t.boolean({
      description: "The restart policy has the process run again.",
      resolve: (exit) => exit.restarting === true,
    }),
    reason: t.exposeString("reason", { nullable: true }),
    at: t.field({ type: "DateTime", resolve: (exit) => new Date(exit.at_ms) }),
  }),
});

const LifeEvent = builder.objectRef<LifeEventShape>("LifeEvent").implement({
  description: "What happened to a machine.",
  fields: (t) => ({
    at: t.field({ type: "DateTime", resolve: (event) => new Date(event.at_ms) }),
    type: t.exposeString("type", {
      description: "launch, start, resume, restart, suspend, stop, exit or destroy.",
    }),
    status: t.exposeString("status", { description: "The machine's state from then on." }),
    source: t.exposeString("source", { description: "Who began it: api, edge or worker." }),
    exit: t.field({ type: MachineExit, nullable: true, resolve: (event) => event.exit }),
    reason: t.exposeString("reason", { nullable: true }),
  }),
});

export async function ownMachine(
  { parts, principal }: RequestContext,
  id: string,
): Promise<MachineSource | null> {
  try {
    return (await parts.store.read((sql) => findOwnMachine(sql, principal, id))).line;
  } catch (error) {
    if (error instanceof GodwitError && error.code === "machine.not_found") return null;
    throw error;
  }
}

const look = (machine: MachineSource, context: RequestContext): Promise<SeenMachine> =>
  machine.seen === undefined ? context.machineViews.of(machine) : Promise.resolve(machine.seen);

function stateOf({ line, view, hostStatus }: SeenMachine): State {
  if (line.destroyedAt !== null) return "DESTROYED";
  if (view !== null) return view.state.toUpperCase() as Uppercase<States>;
  return hostStatus === "OK" && line.destroyWantedAt !== null ? "DESTROYING" : "UNKNOWN";
}

function reasonOf({ line, view, hostStatus }: SeenMachine): string | null {
  if (view !== null) return view.reason;
  if (line.destroyedAt !== null) return null;
  return hostStatus === "UNREACHABLE"
    ? `host ${line.hostId} cannot be reached`
    : `host ${line.hostId} does not know the machine`;
}

builder.node(MachineRef, {
  id: { resolve: (machine) => machine.id },
  loadOne: (id, context) => ownMachine(context, id),
  fields: (t) => {
    /** A field that only the worker knows. */
    const seenString = (get: (view: NonNullable<SeenMachine["view"]>) => string | null) =>
      t.string({
        nullable: true,
        resolve: async (machine, _, context) => {
          const { view } = await look(machine, context);
          return view === null ? null : get(view);
        },
      });
    return {
      machineId: t.exposeString("id"),
      app: t.field({
        type: AppRef,
        resolve: async (machine, _, { parts }) =>
          (await parts.store.read((sql) => appById(sql, machine.appId)))!,
      }),
      release: t.field({
        type: ReleaseRef,
        nullable: true,
        resolve: (machine, _, context) => releaseOf(machine, context),
      }),
      state: t.field({
        type: MachineState,
        resolve: async (machine, _, context) => stateOf(await look(machine, context)),
      }),
      hostId: t.exposeString("hostId"),
      hostStatus: t.string({
        description: "OK or UNREACHABLE.",
        resolve: async (machine, _, context) => (await look(machine, context)).hostStatus,
      }),
      region: t.exposeString("region"),
      image: t.string({
        resolve: async (machine, _, context) => (await releaseOf(machine, context)).imageRef,
      }),
      guest: t.field({
        type: GuestRef,
        resolve: async (machine, _, context) => (await releaseOf(machine, context)).guest,
      }),
      privateIp: seenString((view) => view.address4),
      privateIp6: seenString((view) => view.address6),
      vmm: seenString((view) => view.vmm),
      lastExit: t.field({
        type: MachineExit,
        nullable: true,
        resolve: async (machine, _, context) => (await look(machine, context)).view?.last_exit ?? null,
      }),
      restarts: t.int({
        nullable: true,
        description: "By the restart policy, since the machine was last started by request.",
        resolve: async (machine, _, context) => (await look(machine, context)).view?.restarts ?? null,
      }),
      events: t.field({
        type: [LifeEvent],
        description: `Newest first, at most ${LIFE_EVENTS_MAX}; empty where its host cannot be asked.`,
        resolve: (machine, _, context) => context.machineViews.eventsOf(machine),
      }),
      reason: t.string({
        nullable: true,
        resolve: async (machine, _, context) => reasonOf(await look(machine, context)),
      }),
      createdAt: t.expose("createdAt", { type: "DateTime" }),
      updatedAt: t.field({
        type: "DateTime",
        resolve: async (machine, _, context) => {
          const { view } = await look(machine, context);
          return view === null ? machine.destroyedAt ?? machine.createdAt : new Date(view.updated_at_ms);
        },
      }),
      startedAt: t.field({
        type: "DateTime",
        nullable: true,
        resolve: async (machine, _, context) => {
          const startedMs = (await look(machine, context)).view?.started_at_ms ?? null;
          return startedMs === null ? null : new Date(startedMs);
        },
      }),
    };
  },
});

async function releaseOf(machine: MachineLine, { parts }: RequestContext): Promise<Release> {
  return (await parts.store.read((sql) => releaseById(sql, machine.releaseId)))!;
}
