import { type App, appById } from "../../store/apps.ts";
import { type Release, releaseById } from "../../store/releases.ts";
import type { RequestContext } from "../context.ts";
import { createApp } from "../create-app.ts";
import { deleteApp } from "../delete-app.ts";
import { WAIT_TIMEOUT_S_DEFAULT } from "../deploy-input.ts";
import { deployImage } from "../deploy-image.ts";
import { actOnMachine, type MachineAction } from "../machine-actions.ts";
import { notFound } from "../not-found.ts";
import { AppRef } from "./app.ts";
import { builder } from "./builder.ts";
import { MachineRef, type MachineSource } from "./machine.ts";
import { ReleaseRef } from "./release.ts";

const CreateAppInput = builder.inputType("CreateAppInput", {
  fields: (t) => ({
    name: t.string({ required: true }),
    organization: t.string({ description: "Slug; default: the first one of the token." }),
    idempotencyKey: t.string(),
  }),
});
const GuestInput = builder.inputType("GuestInput", {
  fields: (t) => ({ cpuKind: t.string(), cpus: t.int(), memoryMb: t.int() }),
});
const EnvInput = builder.inputType("EnvInput", {
  fields: (t) => ({ name: t.string({ required: true }), value: t.string({ required: true }) }),
});
const DeployImageInput = builder.inputType("DeployImageInput", {
  fields: (t) => ({
    app: t.string({ required: true, description: "Name." }),
    image: t.string({ required: true }),
    guest: t.field({ type: GuestInput }),
    env: t.field({ type: [EnvInput] }),
    services: t.field({
      type: "JSON",
      description: "As in the contract, snake_case; default: the current release's, else port 80 to 8080.",
    }),
    entrypoint: t.stringList(),
    command: t.stringList(),
    waitTimeoutS: t.int({ defaultValue: WAIT_TIMEOUT_S_DEFAULT }),
    idempotencyKey: t.string(),
  }),
});
const MachineActionInput = builder.inputType("MachineActionInput", {
  fields: (t) => ({ machineId: t.string({ required: true }), idempotencyKey: t.string() }),
});
const StopMachineInput = builder.inputType("StopMachineInput", {
  fields: (t) => ({
    machineId: t.string({ required: true }),
    signal: t.string(),
    timeoutS: t.int(),
    idempotencyKey: t.string(),
  }),
});
const DeleteAppInput = builder.inputType("DeleteAppInput", {
  fields: (t) => ({ name: t.string({ required: true }), idempotencyKey: t.string() }),
});

const CreateAppPayload = builder.objectRef<{ app: App }>("CreateAppPayload").implement({
  fields: (t) => ({ app: t.expose("app", { type: AppRef }) }),
});
const DeployImagePayload = builder.objectRef<{ release: Release }>("DeployImagePayload").implement({
  fields: (t) => ({ release: t.expose("release", { type: ReleaseRef }) }),
});
const MachinePayload = builder.objectRef<{ machine: MachineSource }>("MachinePayload").implement({
  fields: (t) => ({ machine: t.expose("machine", { type: MachineRef }) }),
});
const DeleteAppPayload = builder.objectRef<{ name: string }>("DeleteAppPayload").implement({
  fields: (t) => ({ name: t.exposeString("name") }),
});

builder.mutationType({
  fields: (t) => ({
    createApp: t.field({
      type: CreateAppPayload,
      args: { input: t.arg({ type: CreateAppInput, required: true }) },
      resolve: async (_, { input: { name, organization, idempotencyKey } }, context) => {
        const wish = { name, organization: organization ?? null };
        const id = await createApp(context, wish, idempotencyKey ?? null);
        const app = await context.parts.store.read((sql) => appById(sql, id));
        if (app === null) throw notFound("app", name);
        return { app };
      },
    }),
    deployImage: t.field({
      type: DeployImagePayload,
      args: { input: t.arg({ type: DeployImageInput, required: true }) },
      resolve: async (_, { input }, context) => {
        const id = await deployImage(context, deployInputOf(input), input.idempotencyKey ?? null);
        const release = await context.parts.store.read((sql) => releaseById(sql, id));
        if (release === null) throw notFound("release", id);
        return { release };
      },
    }),
    startMachine: t.field({
      type: MachinePayload,
      args: { input: t.arg({ type: MachineActionInput, required: true }) },
      resolve: (_, { input }, context) => act(context, input, { kind: "start" }),
    }),
    suspendMachine: t.field({
      type: MachinePayload,
      description: "Saves the machine's memory and takes its VM away; startMachine goes on where it was.",
      args: { input: t.arg({ type: MachineActionInput, required: true }) },
      resolve: (_, { input }, context) => act(context, input, { kind: "suspend" }),
    }),
    stopMachine: t.field({
      type: MachinePayload,
      args: { input: t.arg({ type: StopMachineInput, required: true }) },
      resolve: (_, { input }, context) =>
        act(context, input, { kind: "stop", signal: input.signal ?? null, timeoutS: input.timeoutS ?? null }),
    }),
    destroyMachine: t.field({
      type: MachinePayload,
      args: { input: t.arg({ type: MachineActionInput, required: true }) },
      resolve: (_, { input }, context) => act(context, input, { kind: "destroy" }),
    }),
    deleteApp: t.field({
      type: DeleteAppPayload,
      args: { input: t.arg({ type: DeleteAppInput, required: true }) },
      resolve: async (_, { input: { name, idempotencyKey } }, context) => ({
        name: await deleteApp(context, { name }, idempotencyKey ?? null),
      }),
    }),
  }),
});

/** Null and absent mean the same: the default. */
function deployInputOf(input: typeof DeployImageInput.$inferInput) {
  const guest = input.guest ?? {};
  return {
    app: input.app,
    image: input.image,
    guest: {
      ...(guest.cpuKind == null ? {} : { cpu_kind: guest.cpuKind }),
      ...(guest.cpus == null ? {} : { cpus: guest.cpus }),
      ...(guest.memoryMb == null ? {} : { memory_mb: guest.memoryMb }),
    },
    env: input.env ?? [],
    services: input.services ?? null,
    entrypoint: input.entrypoint ?? null,
    command: input.command ?? null,
    waitTimeoutS: input.waitTimeoutS ?? WAIT_TIMEOUT_S_DEFAULT,
  };
}

async function act(
  context: RequestContext,
  input: { machineId: string; idempotencyKey?: string | null | undefined },
  action: MachineAction,
): Promise<{ machine: MachineSource }> {
  const seen = await actOnMachine(context, input.machineId, action, input.idempotencyKey ?? null);
  return { machine: { ...seen.line, seen } };
}
