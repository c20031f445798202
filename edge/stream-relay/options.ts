/** The command line of a stream relay. */
import { parseArgs } from "node:util";
import { GodwitError, messageOf } from "../../control/contract/errors.ts";
import { type AdminPlace, readAdminPlace, readLogLevel, readRegions } from "../replicate/program-options.ts";
import { readRedisOption } from "../replicate/redis-option.ts";

export const RELAY_STREAM_USAGE = `A stream relay: copies the state streams of one Redis into another.

  edge/main.ts relay-stream --from URL --to URL [OPTIONS]

  --from URL                   the upstream: redis://[USER@]HOST:PORT/0, redis+sentinel://[USER@]HOST:PORT,…/PRIMARY
                               or redis+cluster://[USER@]HOST:PORT,…; rediss… for TLS; no password (next line)
  --from-password-file FILE    holds the user's password; mode 0600
  --from-sentinel-password-file FILE   the sentinels', where they want one; mode 0600
  --from-ca-file FILE          PEM: who may have signed a rediss… server's certificate
  --to URL                     the regional Redis; --to-password-file, --to-sentinel-password-file, --to-ca-file
  --regions a,b                region streams that are copied (default: all that there are)
  --admin ADDRESS:PORT|/PATH   /relay, /healthz, /metrics: loopback, or a unix socket that its owner may open
  --json                       one JSON object a line on standard output instead of words
  --log-level LEVEL            of the log on standard error (default info)
  --help

It needs no place of its own: how far it is stands in the regional Redis. It ends on SIGTERM or SIGINT with 0.
`;

const OPTIONS = {
  from: { type: "string" },
  "from-password-file": { type: "string" },
  "from-sentinel-password-file": { type: "string" },
  "from-ca-file": { type: "string" },
  to: { type: "string" },
  "to-password-file": { type: "string" },
  "to-sentinel-password-file": { type: "string" },
  "to-ca-file": { type: "string" },
  regions: { type: "string" },
  admin: { type: "string" },
  json: { type: "boolean" },
  "log-level": { type: "string" },
  help: { type: "boolean" },
} as const;

export interface RelayEnd {
  /** With its password. */
  readonly url: string;
  readonly caFile: string | undefined;
}

export interface RelayStreamOptions {
  readonly from: RelayEnd;
  readonly to: RelayEnd;
  readonly regions: readonly string[];
  readonly admin: AdminPlace | null;
  readonly json: boolean;
  readonly logLevel: string;
}

/**
 * @returns null where only help is asked for
 * @throws GodwitError `edge.option_invalid`, `redis.url_invalid`, `edge.password_in_argv`, `edge.password_file_unusable`
 */
export async function relayStreamOptions(argv: readonly string[]): Promise<RelayStreamOptions | null> {
  const values = parse(argv);
  if (values.help === true) return null;
  const endOf = async (name: "from" | "to"): Promise<RelayEnd> => {
    const given = values[name];
    if (given === undefined) throw invalid(`--${name} is missing`);
    const url = await readRedisOption({
      ...{ name, url: given, passwordFile: values[`${name}-password-file`] },
      sentinelPasswordFile: values[`${name}-sentinel-password-file`],
    });
    return { url, caFile: values[`${name}-ca-file`] };
  };
  const [from, to] = [await endOf("from"), await endOf("to")];
  if (from.url === to.url) throw invalid("--from and --to are the same Redis");
  return {
    ...{ from, to },
    regions: readRegions(values.regions, invalid),
    admin: readAdminPlace(values.admin, invalid),
    json: values.json ?? false,
    logLevel: readLogLevel(values["log-level"], invalid),
  };
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({ args: [...argv], options: OPTIONS, allowPositionals: false }).values;
  } catch (error) {
    throw invalid(messageOf(error));
  }
}

function invalid(what: string): GodwitError {
  return new GodwitError("edge.option_invalid", `Cannot start a stream relay: ${what}`, {
    fault: "client",
    hint: "`edge/main.ts relay-stream --help` lists the options.",
  });
}
