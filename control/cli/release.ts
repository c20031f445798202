/** A deploy as its caller sees it: started, followed line by line, ended. Shared by `godwit deploy` and by `up`. */
import { GodwitError } from "../contract/errors.ts";
import type { ApiClient } from "./api-client.ts";

export interface DeployInput {
  readonly app: string;
  readonly image: string;
  readonly guest?: { cpuKind?: string; cpus?: number; memoryMb?: number };
  readonly env?: { name: string; value: string }[];
  readonly services?: unknown[];
  readonly command?: string[];
  readonly machine?: Record<string, unknown>;
  readonly waitTimeoutS?: number;
  readonly idempotencyKey?: string;
}

export interface Release {
  readonly rowId: string;
  readonly version: number;
  readonly status: "PENDING" | "RUNNING" | "SUCCEEDED" | "FAILED";
  readonly image: string;
  readonly imageDigest: string | null;
  readonly progress: readonly { readonly at: string; readonly message: string }[];
  readonly error: {
    readonly code: string;
    readonly fault: "client" | "app" | "us";
    readonly retryable: boolean;
    readonly message: string;
    readonly hint: string | null;
  } | null;
}

const FIELDS = `rowId version status image imageDigest progress { at message }
  error { code fault retryable message hint }`;
const POLL_MS = 300;
/** The API ends a release by itself; this bounds the watching if it does not. */
export const FOLLOW_MS_MAX = 30 * 60_000;

export async function startDeploy(api: ApiClient, input: DeployInput): Promise<Release> {
  const answer = await api.graphql<{ deployImage: { release: Release } }>(
    `mutation ($input: DeployImageInput!) { deployImage(input: $input) { release { ${FIELDS} } } }`,
    { input },
  );
  return answer.deployImage.release;
}

/** Resolves with the release once it succeeded; throws its error where it failed. */
export async function followRelease(
  api: ApiClient,
  started: Release,
  onProgress: (message: string) => void,
): Promise<Release> {
  const deadline = Date.now() + FOLLOW_MS_MAX;
  let shown: string | null = null;
  for (let release = started;; release = await readRelease(api, started.rowId)) {
    const fresh = linesAfter(release.progress, shown);
    for (const line of fresh) onProgress(line.message);
    shown = fresh.length === 0 ? shown : markOf(fresh.at(-1)!);
    if (release.status === "SUCCEEDED") return release;
    if (release.status === "FAILED") throw failureOf(release);
    if (Date.now() > deadline) {
      throw new GodwitError("cli.deploy_timeout", `Release ${release.rowId} has not ended after 30 minutes`, {
        fault: "us",
        hint: "it may still end: godwit machine list",
      });
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

const markOf = (line: Release["progress"][number]) => `${line.at} ${line.message}`;

/** Pure: the lines after the one shown last; all of them where that one was already dropped from the bounded list. */
export function linesAfter(progress: Release["progress"], shown: string | null): Release["progress"] {
  return progress.slice(progress.findLastIndex((line) => markOf(line) === shown) + 1);
}

async function readRelease(api: ApiClient, rowId: string): Promise<Release> {
  const { release } = await api.graphql<{ release: Release | null }>(
    `query ($id: String!) { release(id: $id) { ${FIELDS} } }`,
    { id: rowId },
  );
  if (release === null) {
    throw new GodwitError("cli.not_found", `Release ${rowId} is gone: its app was deleted meanwhile`, {
      fault: "client",
    });
  }
  return release;
}

function failureOf(release: Release): GodwitError {
  const error = release.error;
  if (error === null) {
    return new GodwitError("cli.deploy_failed", `Release ${release.rowId} failed and says no reason`, {
      fault: "us",
    });
  }
  return GodwitError.fromWire({
    code: error.code,
    fault: error.fault.toLowerCase() as "client" | "app" | "us",
    retryable: error.retryable,
    message: error.message,
    hint: error.hint,
  });
}
