/** The app that `up` deploys: built, pushed to the stack's registry, deployed through the public API as a user would. */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { ApiClient } from "../../control/cli/api-client.ts";
import { buildImage } from "../../control/cli/build/build-image.ts";
import { followRelease, startDeploy } from "../../control/cli/release.ts";
import { GodwitError, messageOf } from "../../control/contract/errors.ts";
import { prepareExample } from "../example/build.ts";
import type { Home } from "./home.ts";
import type { PortPlan } from "./ports.ts";
import { registryAuthFileOf, registryHostOf } from "./process-files.ts";

export const EXAMPLE_APP = "example";
const EXAMPLE_MEMORY_MB = 256;
/** After a start from rest the machine boots first; under TCG on a busy host that takes its time. */
const ANSWER_WAIT_MS = 120_000;
const ANSWER_POLL_MS = 100;
const ONE_ANSWER_MS = 10_000;
/** A worker that has just come up brings its machines back within this. */
const REST_WAIT_MS = 10_000;

/** Hash of what the example is made from. */
export function exampleContent(folder = join(import.meta.dir, "../example")): string {
  const hash = createHash("sha256").update(process.versions.bun ?? "");
  for (const name of readdirSync(folder, { recursive: true, encoding: "utf8" }).sort()) {
    if (/\.test\.ts$|\.md$/.test(name)) continue;
    const bytes = tryRead(join(folder, name));
    if (bytes !== null) hash.update(name).update("\0").update(bytes);
  }
  return hash.digest("hex");
}

function tryRead(file: string): Uint8Array | null {
  try {
    return readFileSync(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EISDIR") return null;
    throw error;
  }
}

/** Builds and pushes; resolves to the image's reference by digest. */
export async function buildExample(
  home: Home,
  ports: PortPlan,
  onLine: (line: string) => void,
): Promise<string> {
  const { contextFolder, dockerfile } = await prepareExample(join(home.folder, "example"));
  const built = await buildImage({
    contextFolder,
    dockerfile,
    name: `${EXAMPLE_APP}:latest`,
    registry: { host: registryHostOf(ports), authFile: registryAuthFileOf(home), insecure: true },
    storageFolder: join(home.folder, "build"),
    runFolder: join(home.runFolder, "build"),
    onLine,
  });
  return built.ref;
}

export async function isDeployed(api: ApiClient): Promise<boolean> {
  const { app } = await api.graphql<{ app: { currentRelease: { status: string } | null } | null }>(
    `query ($name: String!) { app(name: $name) { currentRelease { status } } }`,
    { name: EXAMPLE_APP },
  );
  return app?.currentRelease?.status === "SUCCEEDED";
}

export async function deployExample(
  api: ApiClient,
  image: string,
  say: (message: string) => void,
): Promise<void> {
  const { app } = await api.graphql<{ app: { name: string } | null }>(
    `query ($name: String!) { app(name: $name) { name } }`,
    { name: EXAMPLE_APP },
  );
  if (app === null) {
    await api.graphql(`mutation ($input: CreateAppInput!) { createApp(input: $input) { app { name } } }`, {
      input: { name: EXAMPLE_APP },
    });
  }
  const release = await startDeploy(api, { app: EXAMPLE_APP, image, guest: { memoryMb: EXAMPLE_MEMORY_MB } });
  await followRelease(api, release, say);
}

/**
 * Asks through the edge until the example answers; resolves to what it says of itself. `up` promises an app that answers,
 * so a machine of it that is at rest, by whomever it was stopped, is started after a while.
 */
export async function waitForAnswer(ports: PortPlan, api: ApiClient): Promise<Record<string, unknown>> {
  const host = `${EXAMPLE_APP}.localhost:${ports.edge}`;
  const deadline = Date.now() + ANSWER_WAIT_MS;
  let last = "no answer";
  let wakeAt = Date.now() + REST_WAIT_MS;
  while (Date.now() < deadline) {
    try {
      const answer = await fetch(`http://127.0.0.1:${ports.edge}/`, {
        headers: { host },
        signal: AbortSignal.timeout(ONE_ANSWER_MS),
      });
      const text = await answer.text();
      if (answer.status === 200) return JSON.parse(text) as Record<string, unknown>;
      last = `${answer.status} ${text.slice(0, 300)}`;
    } catch (error) {
      last = messageOf(error);
    }
    if (Date.now() >= wakeAt) {
      wakeAt = Date.now() + REST_WAIT_MS;
      await startResting(api);
    }
    await Bun.sleep(ANSWER_POLL_MS);
  }
  throw new GodwitError(
    "stack.example_silent",
    `http://${host}/ did not answer within ${ANSWER_WAIT_MS / 1_000} s; last: ${last}`,
    {
      fault: "us",
      hint: "look at its machine: bun run godwit machine list -a example; bun run godwit logs -a example",
    },
  );
}

async function startResting(api: ApiClient): Promise<void> {
  const { app } = await api.graphql<
    { app: { machines: { edges: { node: { machineId: string; state: string } }[] } } | null }
  >(
    `query ($name: String!) { app(name: $name) { machines(first: 10) { edges { node { machineId state } } } } }`,
    { name: EXAMPLE_APP },
  );
  const machines = app?.machines.edges.map((edge) => edge.node) ?? [];
  if (machines.some(({ state }) => state === "STARTED" || state === "STARTING")) return;
  const resting = machines.find(({ state }) => state === "STOPPED" || state === "CREATED");
  if (resting === undefined) return;
  await api.graphql(
    `mutation ($input: MachineActionInput!) { startMachine(input: $input) { machine { state } } }`,
    { input: { machineId: resting.machineId } },
  );
}
