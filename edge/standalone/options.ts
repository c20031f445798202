/**
 * An edge by itself: the configuration that a command line stands for. `--to` makes one app with a machine for each
 * upstream; `--rows` follows a file of rows instead.
 */
import { isIP } from "node:net";
import { lookup } from "node:dns/promises";
import { parseArgs } from "node:util";
import { GodwitError, messageOf } from "../../control/contract/errors.ts";
import { EdgeConfig, type EdgeListener } from "../../control/contract/process-config.ts";
import { type AddressPort, isLoopback, readAddressPort } from "./address-port.ts";
import { givenRows } from "./given-app.ts";

export const USAGE = `An edge in front of given upstreams, with every stage on.

  edge/main.ts --from ADDRESS:PORT --to ADDRESS:PORT [--to …]   upstreams on the command line
  edge/main.ts --from ADDRESS:PORT --rows FILE                  rows (NDJSON), followed as the file grows
  edge/main.ts --config PATH                                    a node of a fleet (EdgeConfig, JSON)
  edge/main.ts replica --redis URL --file PATH                  a replicator alone (\`replica --help\`)

  --from ADDRESS:PORT        listen here (repeatable)
  --tls ADDRESS:PORT         listen here, with TLS (repeatable)
  --cert FILE --key FILE     PEM; read again on SIGHUP (default: a certificate that the edge signs itself)
  --to ADDRESS:PORT          an upstream (repeatable)
  --host NAME                the host name it answers for; *.NAME is a pattern (default: any)
  --soft-limit N             requests a machine should have at once (default 20)
  --hard-limit N             requests a machine may have at once (default: no limit)
  --h2-backend               speak HTTP/2 with prior knowledge to the upstreams
  --http3                    HTTP/3 too where --tls listens, on that UDP port and the next
  --h2c                      take HTTP/2 without TLS from clients that begin with its preface
  --proxy-protocol           connections begin with a PROXY header (v1 or v2)
  --rows FILE                a routing state, one row a line (control/contract/rows.ts)
  --region CODE              the edge's region (default loc)
  --admin ADDRESS:PORT       /healthz, /metrics, /replica, /routes; loopback
  --access-log PATH|-|off    JSON lines (default: -, standard output)
  --workers N                processes that share the ports; SIGHUP replaces them one by one (default: none, one process)
  --drain SECONDS            how long connections of a replaced worker may live (default 300)
  --help
`;

const OPTIONS = {
  config: { type: "string" },
  from: { type: "string", multiple: true },
  tls: { type: "string", multiple: true },
  cert: { type: "string" },
  key: { type: "string" },
  to: { type: "string", multiple: true },
  host: { type: "string" },
  "soft-limit": { type: "string" },
  "hard-limit": { type: "string" },
  "h2-backend": { type: "boolean" },
  h2c: { type: "boolean" },
  http3: { type: "boolean" },
  "proxy-protocol": { type: "boolean" },
  rows: { type: "string" },
  region: { type: "string" },
  admin: { type: "string" },
  "access-log": { type: "string" },
  workers: { type: "string" },
  drain: { type: "string" },
  help: { type: "boolean" },
} as const;

export type Options = ReturnType<typeof parse>;

/** @throws GodwitError `edge.option_invalid` */
export function parseOptions(argv: readonly string[]): Options {
  try {
    return parse(argv);
  } catch (error) {
    throw invalid(messageOf(error));
  }
}

function parse(argv: readonly string[]) {
  return parseArgs({ args: [...argv], options: OPTIONS, allowPositionals: false }).values;
}

/** @throws GodwitError `edge.option_invalid` */
export async function standaloneConfig(options: Options): Promise<EdgeConfig> {
  const listeners = (options.from ?? []).map((text): EdgeListener => {
    const { address, port } = addressAndPort("--from", text);
    return {
      address,
      port,
      service_port: port,
      ...(options.h2c ? { h2c: true } : {}),
      ...(options["proxy-protocol"] ? { proxy_protocol: true } : {}),
    };
  });
  for (const text of options.tls ?? []) {
    const { address, port } = addressAndPort("--tls", text);
    const proxied = options["proxy-protocol"] ? { proxy_protocol: true } : {};
    const http3 = options.http3 ? { http3: [port, port + 1] as [number, number] } : {};
    listeners.push({ address, port, service_port: port, tls: true, ...http3, ...proxied });
  }
  if (listeners.length === 0) throw invalid("--from is missing");
  if ((options.cert === undefined) !== (options.key === undefined)) {
    throw invalid("--cert and --key need each other");
  }
  const upstreams = options.to ?? [];
  if ((upstreams.length > 0) === (options.rows !== undefined)) {
    throw invalid("an edge needs upstreams, either as --to or as --rows");
  }
  const parsed = EdgeConfig.safeParse({
    schema: 1,
    edge_id: "edge",
    region: options.region ?? "loc",
    regions: [],
    listeners,
    admin: options.admin === undefined ? null : loopback(addressAndPort("--admin", options.admin)),
    rows: options.rows !== undefined ? { from: "file", file: options.rows } : {
      from: "given",
      rows: givenRows({
        host: options.host ?? "*",
        region: options.region ?? "loc",
        servicePorts: listeners.map((listener) => listener.service_port),
        upstreams: await Promise.all(upstreams.map(upstreamAddress)),
        softLimit: wholeNumber("--soft-limit", options["soft-limit"]) ?? 20,
        hardLimit: wholeNumber("--hard-limit", options["hard-limit"]),
        h2Backend: options["h2-backend"] ?? false,
      }),
    },
    ...(options.cert === undefined ? {} : { tls: { certificate_file: options.cert, key_file: options.key } }),
    access_log: options["access-log"] ?? "-",
    workers: wholeNumber("--workers", options.workers) ?? undefined,
    drain_s: wholeNumber("--drain", options.drain) ?? undefined,
  });
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw invalid(`${issue?.path.join(".")}: ${issue?.message}`);
}

function addressAndPort(option: string, text: string): AddressPort {
  const at = readAddressPort(text);
  if (at === null) throw invalid(`${option} ${text} is not ADDRESS:PORT`);
  return at;
}

function loopback(at: AddressPort): AddressPort {
  if (isLoopback(at.address)) return at;
  throw invalid(`--admin ${at.address} is not a loopback address; its pages have no password`);
}

/** Machines' rows hold addresses and no names, so a name is looked up once, here. */
async function upstreamAddress(text: string): Promise<{ address: string; port: number }> {
  const { address, port } = addressAndPort("--to", text);
  if (isIP(address) !== 0) return { address, port };
  try {
    return { address: (await lookup(address, { family: 4 })).address, port };
  } catch (error) {
    throw invalid(`--to ${text} has no IPv4 address: ${messageOf(error)}`);
  }
}

function wholeNumber(option: string, text: string | undefined): number | null {
  if (text === undefined) return null;
  if (!/^[1-9][0-9]{0,6}$/.test(text)) throw invalid(`${option} ${text} is not a number from 1 to 1000000`);
  return Number(text);
}

function invalid(what: string): GodwitError {
  return new GodwitError("edge.option_invalid", `Cannot start an edge: ${what}`, {
    fault: "client",
    hint: "`edge/main.ts --help` lists the options.",
  });
}
