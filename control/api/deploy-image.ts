import { requireScope } from "../access/permission.ts";
import { GodwitError } from "../contract/errors.ts";
import { newRowId } from "../contract/names.ts";
import { lockApp } from "../store/apps.ts";
import { insertRelease } from "../store/releases.ts";
import type { RequestContext } from "./context.ts";
import { type DeployInput, readDeployInput, SERVICES_DEFAULT } from "./deploy-input.ts";
import { onceInStore } from "./idempotent.ts";
import { findOwnApp, notFound } from "./not-found.ts";

/** Accepts a deploy and returns the release's id; the release runner does the rest (control/release). */
export async function deployImage(
  context: RequestContext,
  input: DeployInput,
  key: string | null,
): Promise<string> {
  const { principal, parts } = context;
  requireScope(principal, "write");
  const wish = readDeployInput(input);
  const mutation = { principal, operation: "deployImage", key, input };
  const { release_id } = await onceInStore(parts.store, mutation, async (tx) => {
    const found = await findOwnApp(tx, principal, input.app);
    const app = await lockApp(tx, found.id);
    if (app === null) throw notFound("app", input.app);
    if (app.deletingAt !== null) throw deleting(app.name);
    const services = wish.services ?? app.services ?? SERVICES_DEFAULT;
    const release = await insertRelease(tx, { id: newRowId(), appId: app.id, ...wish, services });
    if (release === null) throw inProgress(app.name);
    return { release_id: release.id };
  });
  parts.wakeRunner();
  return release_id;
}

export function deleting(appName: string): GodwitError {
  return new GodwitError("app.deleting", `Cannot change ${appName}: the app is being deleted`, {
    fault: "client",
    hint: "Wait until it is gone, then create it anew.",
  });
}

function inProgress(appName: string): GodwitError {
  return new GodwitError(
    "release.in_progress",
    `Cannot deploy to ${appName}: another deploy of it is under way`,
    { fault: "client", retryable: true, hint: "Wait until it has finished, then deploy again." },
  );
}
