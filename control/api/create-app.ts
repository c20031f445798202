import { isMember, requireScope } from "../access/permission.ts";
import { GodwitError } from "../contract/errors.ts";
import { AppName, newRowId } from "../contract/names.ts";
import { announceApp, announceHostname } from "../publish/announce.ts";
import { insertApp } from "../store/apps.ts";
import { insertHostname } from "../store/hostnames.ts";
import { organizationBySlug } from "../store/organizations.ts";
import type { RequestContext } from "./context.ts";
import { onceInStore } from "./idempotent.ts";
import { notFound } from "./not-found.ts";
import { validate } from "./validate.ts";

export interface CreateAppInput {
  readonly name: string;
  /** Slug. @default the first organisation of the token */
  readonly organization: string | null;
}

/** Returns the app's id. The app is routed from now on, though nothing answers before its first release. */
export async function createApp(
  context: RequestContext,
  input: CreateAppInput,
  key: string | null,
): Promise<string> {
  const { principal, parts } = context;
  requireScope(principal, "write");
  const name = validate(AppName, input.name, {
    code: "app.name_invalid",
    what: "app name",
    hint: "For example my-app-2.",
  });
  const slug = input.organization ?? principal.organizations[0] ?? "";
  const hostname = `${name}.${parts.config.hostname_suffix}`;
  const mutation = { principal, operation: "createApp", key, input };
  const { app_id } = await onceInStore(parts.store, mutation, async (tx) => {
    const organization = isMember(principal, slug) ? await organizationBySlug(tx, slug) : null;
    if (organization === null) throw notFound("organization", slug);
    const id = newRowId();
    if (!await insertApp(tx, { id, orgId: organization.id, name })) throw taken("app.name_taken", name);
    if (!await insertHostname(tx, hostname, id)) throw taken("app.hostname_taken", hostname);
    await announceApp(tx, id);
    await announceHostname(tx, hostname);
    return { app_id: id };
  });
  return app_id;
}

function taken(code: string, name: string): GodwitError {
  return new GodwitError(code, `Cannot create the app: the name ${name} is taken`, {
    fault: "client",
    hint: "Choose another name; names are shared by all organisations.",
  });
}
