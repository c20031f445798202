/** What does not exist, and what belongs to another organisation, are told apart by nobody. */
import { isMember } from "../access/permission.ts";
import type { Principal } from "../access/token.ts";
import { GodwitError } from "../contract/errors.ts";
import { AppName, MachineId } from "../contract/names.ts";
import { type App, appById, appByName } from "../store/apps.ts";
import type { Sql } from "../store/database.ts";
import { type Host, hostById } from "../store/hosts.ts";
import { machineById, type MachineLine } from "../store/machines.ts";
import { organizationById } from "../store/organizations.ts";

export function notFound(noun: "app" | "machine" | "organization" | "release", name: string): GodwitError {
  const hint = noun === "organization"
    ? "The `organizations` query lists those that the token may act in."
    : "Check the name and the organisation of the token.";
  return new GodwitError(`${noun}.not_found`, `There is no ${noun} ${JSON.stringify(name.slice(0, 100))}`, {
    fault: "client",
    hint,
  });
}

/** null where it is not the principal's. */
export async function ownApp(sql: Sql, principal: Principal, app: App | null): Promise<App | null> {
  if (app === null) return null;
  const organization = await organizationById(sql, app.orgId);
  return organization !== null && isMember(principal, organization.slug) ? app : null;
}

export async function findOwnApp(sql: Sql, principal: Principal, name: string): Promise<App> {
  const app = AppName.safeParse(name).success
    ? await ownApp(sql, principal, await appByName(sql, name))
    : null;
  if (app === null) throw notFound("app", name);
  return app;
}

export async function findOwnMachine(
  sql: Sql,
  principal: Principal,
  id: string,
): Promise<{ line: MachineLine; app: App; host: Host }> {
  const line = MachineId.safeParse(id).success ? await machineById(sql, id) : null;
  const app = line === null ? null : await ownApp(sql, principal, await appById(sql, line.appId));
  if (line === null || app === null) throw notFound("machine", id);
  return { line, app, host: (await hostById(sql, line.hostId))! };
}
