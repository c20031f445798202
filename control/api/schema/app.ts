import { z } from "zod";
import { MachineId, RowId } from "../../contract/names.ts";
import { type App, appById } from "../../store/apps.ts";
import { livingMachinesOfApp, type MachineLine, pageOfMachines } from "../../store/machines.ts";
import { organizationById } from "../../store/organizations.ts";
import { pageOfReleases, type Release, releaseById } from "../../store/releases.ts";
import type { RequestContext } from "../context.ts";
import { ownApp } from "../not-found.ts";
import { builder } from "./builder.ts";
import { MachineRef } from "./machine.ts";
import { OrganizationRef } from "./organization.ts";
import { pageOf } from "./paging.ts";
import { ReleaseRef } from "./release.ts";

export const AppRef = builder.objectRef<App>("App");

const AppStatus = builder.enumType("AppStatus", {
  values: {
    PENDING: { description: "No release has succeeded yet." },
    DEPLOYED: {},
    SUSPENDED: { description: "No machine is started." },
    DELETING: {},
  } as const,
});

/** A release's version as a cursor. */
const VersionCursor = z.string().regex(/^[0-9]{1,9}$/);

builder.node(AppRef, {
  id: { resolve: (app) => app.id },
  loadOne: async (id, { parts, principal }) => {
    if (!RowId.safeParse(id).success) return null;
    return await parts.store.read(async (sql) => ownApp(sql, principal, await appById(sql, id)));
  },
  fields: (t) => ({
    name: t.exposeString("name"),
    createdAt: t.expose("createdAt", { type: "DateTime" }),
    organization: t.field({
      type: OrganizationRef,
      resolve: async (app, _, { parts }) =>
        (await parts.store.read((sql) => organizationById(sql, app.orgId)))!,
    }),
    hostname: t.string({ resolve: (app, _, { parts }) => `${app.name}.${parts.config.hostname_suffix}` }),
    url: t.string({
      resolve: (app, _, { parts }) => parts.config.app_url_template.replaceAll("{app}", app.name),
    }),
    status: t.field({ type: AppStatus, resolve: (app, _, context) => statusOf(app, context) }),
    currentRelease: t.field({
      type: ReleaseRef,
      nullable: true,
      resolve: async ({ currentReleaseId: id }, _, { parts }) =>
        id === null ? null : await parts.store.read((sql) => releaseById(sql, id)),
    }),
    releases: t.connection({
      type: ReleaseRef,
      description: "Newest first.",
      resolve: (app, args, { parts }) =>
        pageOf<Release>({
          args,
          cursor: VersionCursor,
          toCursor: (release) => String(release.version),
          read: (page) => parts.store.read((sql) => pageOfReleases(sql, app.id, page)),
        }),
    }),
    machines: t.connection({
      type: MachineRef,
      resolve: (app, args, { parts }) =>
        pageOf<MachineLine>({
          args,
          cursor: MachineId,
          toCursor: (line) => line.id,
          read: (page) => parts.store.read((sql) => pageOfMachines(sql, app.id, page)),
        }),
    }),
  }),
});

async function statusOf(
  app: App,
  { parts, machineViews }: RequestContext,
): Promise<"PENDING" | "DEPLOYED" | "SUSPENDED" | "DELETING"> {
  if (app.deletingAt !== null) return "DELETING";
  if (app.currentReleaseId === null) return "PENDING";
  const lines = await parts.store.read((sql) => livingMachinesOfApp(sql, app.id));
  const seen = await Promise.all(lines.map((line) => machineViews.of(line)));
  // Of an unreachable host nothing is known; its machines most likely run on.
  const runs = seen.some(({ view, hostStatus }) =>
    hostStatus === "UNREACHABLE" || view?.state === "started" || view?.state === "starting"
  );
  return runs ? "DEPLOYED" : "SUSPENDED";
}
