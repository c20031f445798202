import { isMember } from "../../access/permission.ts";
import type { Principal } from "../../access/token.ts";
import { GodwitError } from "../../contract/errors.ts";
import { AppName, OrgSlug } from "../../contract/names.ts";
import { type App, pageOfApps } from "../../store/apps.ts";
import {
  type Organization,
  organizationBySlug,
  organizationsBySlugs,
  pageOfOrganizations,
} from "../../store/organizations.ts";
import { findOwnApp, notFound } from "../not-found.ts";
import { AppRef } from "./app.ts";
import { builder } from "./builder.ts";
import { MachineRef, ownMachine } from "./machine.ts";
import { OrganizationRef } from "./organization.ts";
import { pageOf } from "./paging.ts";
import { ownRelease, ReleaseRef } from "./release.ts";

const Viewer = builder.objectRef<Principal>("Viewer").implement({
  description: "Whom the access token speaks for.",
  fields: (t) => ({
    subject: t.exposeString("subject"),
    organizations: t.field({
      type: [OrganizationRef],
      resolve: ({ organizations }, _, { parts }) =>
        parts.store.read((sql) => organizationsBySlugs(sql, organizations)),
    }),
  }),
});

builder.queryType({
  fields: (t) => ({
    viewer: t.field({ type: Viewer, resolve: (_, __, { principal }) => principal }),
    organization: t.field({
      type: OrganizationRef,
      nullable: true,
      args: { slug: t.arg.string({ required: true }) },
      resolve: async (_, { slug }, { parts, principal }) =>
        isMember(principal, slug) ? await parts.store.read((sql) => organizationBySlug(sql, slug)) : null,
    }),
    organizations: t.connection({
      type: OrganizationRef,
      resolve: (_, args, { parts, principal }) =>
        pageOf<Organization>({
          args,
          cursor: OrgSlug,
          toCursor: (organization) => organization.slug,
          read: (page) => parts.store.read((sql) => pageOfOrganizations(sql, principal.organizations, page)),
        }),
    }),
    apps: t.connection({
      type: AppRef,
      description: "By name. Without `organization`, of all that the token may act in.",
      args: { organization: t.arg.string() },
      resolve: (_, args, { parts, principal }) => {
        const slug = args.organization ?? null;
        if (slug !== null && !isMember(principal, slug)) throw notFound("organization", slug);
        return pageOf<App>({
          args,
          cursor: AppName,
          toCursor: (app) => app.name,
          read: (page) =>
            parts.store.read(async (sql) => {
              const slugs = slug === null ? principal.organizations : [slug];
              const organizations = await organizationsBySlugs(sql, slugs);
              return await pageOfApps(sql, organizations.map(({ id }) => id), page);
            }),
        });
      },
    }),
    app: t.field({
      type: AppRef,
      nullable: true,
      args: { name: t.arg.string({ required: true }) },
      resolve: async (_, { name }, { parts, principal }) => {
        try {
          return await parts.store.read((sql) => findOwnApp(sql, principal, name));
        } catch (error) {
          if (error instanceof GodwitError && error.code === "app.not_found") return null;
          throw error;
        }
      },
    }),
    machine: t.field({
      type: MachineRef,
      nullable: true,
      args: { id: t.arg.string({ required: true }) },
      resolve: (_, { id }, context) => ownMachine(context, id),
    }),
    release: t.field({
      type: ReleaseRef,
      nullable: true,
      args: { id: t.arg.string({ required: true, description: "Its `rowId`." }) },
      resolve: (_, { id }, { parts, principal }) => parts.store.read((sql) => ownRelease(sql, principal, id)),
    }),
  }),
});
