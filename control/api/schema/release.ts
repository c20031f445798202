import type { WireError } from "../../contract/errors.ts";
import { RowId } from "../../contract/names.ts";
import { appById } from "../../store/apps.ts";
import type { Sql } from "../../store/database.ts";
import { type Release, releaseById } from "../../store/releases.ts";
import type { Principal } from "../../access/token.ts";
import { ownApp } from "../not-found.ts";
import { AppRef } from "./app.ts";
import { builder } from "./builder.ts";
import { GuestRef } from "./guest.ts";

export const ReleaseRef = builder.objectRef<Release>("Release");

const ReleaseStatus = builder.enumType("ReleaseStatus", {
  values: ["PENDING", "RUNNING", "SUCCEEDED", "FAILED"] as const,
});

const ErrorInfo = builder.objectRef<WireError>("ErrorInfo").implement({
  fields: (t) => ({
    code: t.exposeString("code"),
    fault: t.exposeString("fault", { description: "Who must act: client, app or us." }),
    retryable: t.exposeBoolean("retryable"),
    message: t.exposeString("message"),
    hint: t.exposeString("hint", { nullable: true }),
  }),
});

const ReleaseProgress = builder.objectRef<{ at: string; message: string }>("ReleaseProgress").implement({
  fields: (t) => ({
    at: t.field({ type: "DateTime", resolve: (entry) => new Date(entry.at) }),
    message: t.exposeString("message"),
  }),
});

builder.node(ReleaseRef, {
  id: { resolve: (release) => release.id },
  loadOne: (id, { parts, principal }) => parts.store.read((sql) => ownRelease(sql, principal, id)),
  fields: (t) => ({
    rowId: t.exposeString("id"),
    version: t.exposeInt("version"),
    status: t.field({
      type: ReleaseStatus,
      resolve: ({ status }) => status.toUpperCase() as Uppercase<typeof status>,
    }),
    error: t.field({
      type: ErrorInfo,
      nullable: true,
      resolve: ({ status, error }) => status === "failed" ? error : null,
    }),
    app: t.field({
      type: AppRef,
      resolve: async (release, _, { parts }) =>
        (await parts.store.read((sql) => appById(sql, release.appId)))!,
    }),
    image: t.exposeString("imageRef"),
    imageDigest: t.exposeString("imageDigest", { nullable: true }),
    guest: t.field({ type: GuestRef, resolve: (release) => release.guest }),
    services: t.field({ type: "JSON", resolve: (release) => release.services }),
    command: t.exposeStringList("command", { nullable: true }),
    entrypoint: t.exposeStringList("entrypoint", { nullable: true }),
    progress: t.field({ type: [ReleaseProgress], resolve: (release) => release.progress }),
    createdAt: t.expose("createdAt", { type: "DateTime" }),
    finishedAt: t.expose("finishedAt", { type: "DateTime", nullable: true }),
  }),
});

/** null where there is none, or not of the principal's organisations. */
export async function ownRelease(sql: Sql, principal: Principal, id: string): Promise<Release | null> {
  if (!RowId.safeParse(id).success) return null;
  const release = await releaseById(sql, id);
  if (release === null) return null;
  return await ownApp(sql, principal, await appById(sql, release.appId)) === null ? null : release;
}
