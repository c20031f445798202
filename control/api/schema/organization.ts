import { isMember } from "../../access/permission.ts";
import { AppName, RowId } from "../../contract/names.ts";
import { type App, pageOfApps } from "../../store/apps.ts";
import { type Organization, organizationById } from "../../store/organizations.ts";
import { AppRef } from "./app.ts";
import { builder } from "./builder.ts";
import { pageOf } from "./paging.ts";

export const OrganizationRef = builder.objectRef<Organization>("Organization");

builder.node(OrganizationRef, {
  id: { resolve: (organization) => organization.id },
  loadOne: async (id, { parts, principal }) => {
    if (!RowId.safeParse(id).success) return null;
    const organization = await parts.store.read((sql) => organizationById(sql, id));
    return organization !== null && isMember(principal, organization.slug) ? organization : null;
  },
  fields: (t) => ({
    slug: t.exposeString("slug"),
    name: t.exposeString("name"),
    createdAt: t.expose("createdAt", { type: "DateTime" }),
    apps: t.connection({
      type: AppRef,
      resolve: (organization, args, { parts }) =>
        pageOf<App>({
          args,
          cursor: AppName,
          toCursor: (app) => app.name,
          read: (page) => parts.store.read((sql) => pageOfApps(sql, [organization.id], page)),
        }),
    }),
  }),
});
