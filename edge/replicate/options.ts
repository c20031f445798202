/** The command line of a replicator alone. */
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { GodwitError, messageOf } from "../../control/contract/errors.ts";
import { EdgeRows } from "../../control/contract/process-config.ts";
import { type AddressPort, isLoopback, readAddressPort } from "../standalone/address-port.ts";
import type { ReplicatorSettings } from "../workers/messages.ts";
import { type AdminPlace, readAdminPlace, readLogLevel, readRegions } from "./program-options.ts";
import { readRedisOption } from "./redis-option.ts";

export const REPLICA_USAGE = `A replicator alone: follows the state streams of a Redis into a SQLite file.

  edge/main.ts replica --redis URL --file PATH [OPTIONS]

  --redis URL                  redis://[USER@]HOST:PORT/0, redis+sentinel://[USER@]HOST:PORT,…/PRIMARY or
                               redis+cluster://[USER@]HOST:PORT,…; rediss… for TLS; no password (next line)
  --redis-password-file FILE   holds the user's password; mode 0600
  --redis-sentinel-password-file FILE   the sentinels', where they want one; mode 0600
  --file PATH                  the replica; a link to its present generation, PATH.N (edge/replica/README.md)
  --regions a,b                regions followed in detail (default: all that have a stream)
  --api-public-key KEY         entries must be signed by it, or by whom it vouches for (default: none is looked at)
  --snapshots-from URL,…       who serves snapshots to begin from
  --snapshots-listen ADDRESS:PORT   build snapshots and serve them here
  --snapshot-token-file FILE   the bearer token for both; mode 0600
  --query ADDRESS:PORT|/PATH   answers queries and subscriptions here (edge/query/README.md)
  --query-token-file FILE      the bearer token for them where that is an address; mode 0600
  --admin ADDRESS:PORT|/PATH   /replica, /healthz, /metrics: loopback, or a unix socket that its owner may open
  --json                       one JSON object a line on standard output instead of words
  --log-level LEVEL            of the log on standard error (default info)
  --help

It serves on through whatever happens to Redis or to the file, and ends on SIGTERM or SIGINT with 0.
`;

const OPTIONS = {
  redis: { type: "string" },
  "redis-password-file": { type: "string" },
  "redis-sentinel-password-file": { type: "string" },
  file: { type: "string" },
  regions: { type: "string" },
  "api-public-key": { type: "string" },
  "snapshots-from": { type: "string" },
  "snapshots-listen": { type: "string" },
  "snapshot-token-file": { type: "string" },
  query: { type: "string" },
  "query-token-file": { type: "string" },
  admin: { type: "string" },
  json: { type: "boolean" },
  "log-level": { type: "string" },
  help: { type: "boolean" },
} as const;

export interface ReplicateOptions {
  readonly settings: ReplicatorSettings;
  readonly admin: AdminPlace | null;
  readonly json: boolean;
}

/**
 * @returns null where only help is asked for
 * @throws GodwitError `edge.option_invalid`, `redis.url_invalid`, `edge.password_in_argv`, `edge.password_file_unusable`
 */
export async function replicateOptions(argv: readonly string[]): Promise<ReplicateOptions | null> {
  const values = parse(argv);
  if (values.help === true) return null;
  if (values.redis === undefined) throw invalid("--redis is missing");
  if (values.file === undefined) throw invalid("--file is missing");
  const redis_url = await readRedisOption({
    ...{ name: "redis", url: values.redis, passwordFile: values["redis-password-file"] },
    sentinelPasswordFile: values["redis-sentinel-password-file"],
  });
  const rows = EdgeRows.safeParse({
    from: "redis",
    redis_url,
    replica_file: resolve(values.file),
    api_public_key: values["api-public-key"],
    snapshots_from: values["snapshots-from"]?.split(","),
    snapshot_token_file: values["snapshot-token-file"],
    snapshots_listen: listenPlace(values["snapshots-listen"]),
    query: queryPlace(values.query, values["query-token-file"]),
  });
  if (!rows.success || rows.data.from !== "redis") throw invalid(issueOf(rows.error));
  const regions = readRegions(values.regions, invalid);
  const logLevel = readLogLevel(values["log-level"], invalid);
  return {
    settings: { rows: rows.data, regions, logLevel },
    admin: readAdminPlace(values.admin, invalid),
    json: values.json ?? false,
  };
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({ args: [...argv], options: OPTIONS, allowPositionals: false }).values;
  } catch (error) {
    throw invalid(messageOf(error));
  }
}

function listenPlace(text: string | undefined): AddressPort | undefined {
  if (text === undefined) return undefined;
  const at = readAddressPort(text);
  if (at === null) throw invalid(`--snapshots-listen ${text} is not ADDRESS:PORT`);
  return at;
}

function queryPlace(text: string | undefined, tokenFile: string | undefined) {
  if (text === undefined || text.startsWith("/")) return text === undefined ? undefined : { socket: text };
  const at = readAddressPort(text);
  if (at === null || !isLoopback(at.address)) {
    throw invalid(`--query ${text} is neither a loopback ADDRESS:PORT nor the absolute path of a socket`);
  }
  if (tokenFile === undefined) throw invalid("--query on an address wants --query-token-file");
  return { ...at, token_file: tokenFile };
}

const OPTION_OF: Record<string, string> = {
  redis_url: "--redis",
  replica_file: "--file",
  api_public_key: "--api-public-key",
  snapshots_from: "--snapshots-from",
  snapshot_token_file: "--snapshot-token-file",
};

/** The value itself stays out of it: the URL holds a password by then. */
function issueOf(
  error: { issues: readonly { path: readonly PropertyKey[]; message: string }[] } | undefined,
) {
  const issue = error?.issues[0];
  return `${OPTION_OF[String(issue?.path[0])] ?? "an option"}: ${issue?.message}`;
}

function invalid(what: string): GodwitError {
  return new GodwitError("edge.option_invalid", `Cannot start a replica: ${what}`, {
    fault: "client",
    hint: "`edge/main.ts replica --help` lists the options.",
  });
}
