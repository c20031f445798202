/** godwit apps list | create | destroy */
import { GodwitError } from "../../contract/errors.ts";
import type { ApiClient } from "../api-client.ts";
import { type Page, PAGE_SIZE, readPages } from "../pages.ts";
import type { Session } from "../session.ts";
import { table } from "../table.ts";

export interface App {
  readonly name: string;
  readonly status: string;
  readonly url: string;
  readonly organization: { readonly slug: string };
}

const FIELDS = "name status url organization { slug }";
const GONE_WAIT_MS = 30_000;
const GONE_POLL_MS = 100;

export async function listApps(session: Session): Promise<void> {
  const api = await session.api();
  const apps = await readPages(async (after) => {
    const answer: { apps: Page<App> } = await api.graphql(
      `query ($organization: String, $first: Int, $after: String) {
        apps(organization: $organization, first: $first, after: $after) {
          edges { node { ${FIELDS} } } pageInfo { hasNextPage endCursor } } }`,
      { organization: session.flags.org ?? null, first: PAGE_SIZE, after },
    );
    return answer.apps;
  });
  const rows = apps.map(plain);
  session.result({ apps: rows }, table(rows, "No apps yet; make one with: godwit apps create NAME"));
}

export async function createApp(session: Session, name: string): Promise<void> {
  const api = await session.api();
  const input = { name, ...(session.flags.org === undefined ? {} : { organization: session.flags.org }) };
  const { createApp } = await api.graphql<{ createApp: { app: App } }>(
    `mutation ($input: CreateAppInput!) { createApp(input: $input) { app { ${FIELDS} } } }`,
    { input },
  );
  const app = plain(createApp.app);
  session.result({ app }, `App ${app.name} is there, in ${app.organization}; it will answer at ${app.url}`);
}

export async function destroyApp(session: Session, name: string): Promise<void> {
  await session.confirm(`Destroy ${name} with all of its machines?`);
  const api = await session.api();
  await api.graphql(`mutation ($input: DeleteAppInput!) { deleteApp(input: $input) { name } }`, {
    input: { name },
  });
  const destroyed = await isGone(api, name);
  session.result(
    { app: { name, destroyed } },
    destroyed
      ? `App ${name} is destroyed`
      : `App ${name} gets no more requests; it is destroyed when its machines' hosts are back`,
  );
}

/** The API ends an app in its own time, and its name is taken until then. False where that takes too long. */
async function isGone(api: ApiClient, name: string): Promise<boolean> {
  const deadline = Date.now() + GONE_WAIT_MS;
  while (Date.now() < deadline) {
    const { app } = await api.graphql<{ app: { status: string } | null }>(
      `query ($name: String!) { app(name: $name) { status } }`,
      { name },
    );
    if (app?.status !== "DELETING") return true;
    await new Promise((resolve) => setTimeout(resolve, GONE_POLL_MS));
  }
  return false;
}

/** snake_case, as all JSON of the CLI. */
function plain(app: App) {
  return {
    name: app.name,
    status: app.status.toLowerCase(),
    organization: app.organization.slug,
    url: app.url,
  };
}

/** @throws `cli.not_found` */
export function foundApp<T>(app: T | null, name: string): T {
  if (app !== null) return app;
  throw new GodwitError("cli.not_found", `There is no app ${name}, or it is not yours to see`, {
    fault: "client",
    hint: `see \`godwit apps list\`, or make it: godwit apps create ${name}`,
  });
}
