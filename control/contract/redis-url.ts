/**
 * Where a Redis is and how it is made up, in one line: what `redis_url` holds, and `--redis`. Pure.
 *
 *   redis://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE]
 *   redis+sentinel://[USER[:PASSWORD]@]HOST[:PORT],…/PRIMARY[?sentinel_username=…&sentinel_password=…]
 *   redis+cluster://[USER[:PASSWORD]@]HOST[:PORT],…
 *
 * and `rediss…` for TLS to all of them. The user is that of the servers with the data; sentinels have their own. With a
 * cluster the hosts are where it is asked who else belongs to it. Other programs' URLs have one host, so `URL` cannot read
 * these. Messages repeat nothing of a URL: where a password has a sign that had to be percent-encoded, any part of the
 * URL may be a part of it.
 */
import { GodwitError } from "./errors.ts";

export const REDIS_HOSTS_MAX = 16;
const URL_CHARS_MAX = 4_096;
const PORT = 6_379;
const SENTINEL_PORT = 26_379;

export type RedisTopology = "single" | "sentinel" | "cluster";

export interface RedisUser {
  readonly username: string | null;
  readonly password: string | null;
}

export interface RedisHost {
  readonly host: string;
  readonly port: number;
}

export interface RedisAddress {
  readonly topology: RedisTopology;
  readonly tls: boolean;
  /** One server; or sentinels; or some of a cluster's servers. */
  readonly hosts: readonly [RedisHost, ...RedisHost[]];
  readonly user: RedisUser;
  /** Always 0 in a cluster. */
  readonly database: number;
  /** What the sentinels call the group of servers; null without sentinels. */
  readonly primary: string | null;
  readonly sentinelUser: RedisUser;
}

const HINT =
  "The forms are redis://USER:PASSWORD@HOST:PORT/0, redis+sentinel://USER:PASSWORD@HOST:PORT,…/PRIMARY and " +
  "redis+cluster://USER:PASSWORD@HOST:PORT,…, or rediss… for TLS; what stands in a password beside letters, digits " +
  "and - . _ ~ is percent-encoded.";

/** @throws GodwitError `redis.url_invalid` */
export function parseRedisUrl(text: string): RedisAddress {
  const parts = text.length > URL_CHARS_MAX
    ? null
    : /^(rediss?)(\+sentinel|\+cluster)?:\/\/([^/?#]*)(?:\/([^?#]*))?(?:\?([^#]*))?$/.exec(text);
  if (parts === null) throw invalid("it is not of one of the known forms");
  const [, scheme, kind, authority = "", path = "", query = ""] = parts;
  const topology: RedisTopology = kind === "+sentinel"
    ? "sentinel"
    : kind === "+cluster"
    ? "cluster"
    : "single";
  const at = authority.lastIndexOf("@");
  const hosts = hostsOf(authority.slice(at + 1), topology);
  const shared = {
    topology,
    tls: scheme === "rediss",
    hosts,
    user: userOf(authority.slice(0, Math.max(0, at))),
  };
  if (topology === "sentinel") return { ...shared, ...primaryOf(path), sentinelUser: sentinelUserOf(query) };
  if (query !== "") throw invalid("only a URL with sentinels has parameters");
  if (topology === "cluster" && path !== "" && path !== "0") throw invalid("a cluster has one database");
  return { ...shared, database: databaseOf(path), primary: null, sentinelUser: NOBODY };
}

/** The URL again, passwords in it. */
export function formatRedisUrl(address: RedisAddress): string {
  const { topology, tls, hosts, user, database, primary, sentinelUser } = address;
  const kind = topology === "single" ? "" : `+${topology}`;
  const { username, password } = user;
  const name = encodeURIComponent(username ?? "");
  const who = password !== null
    ? `${name}:${encodeURIComponent(password)}@`
    : username !== null
    ? `${name}@`
    : "";
  const query = new URLSearchParams();
  if (sentinelUser.username !== null) query.set("sentinel_username", sentinelUser.username);
  if (sentinelUser.password !== null) query.set("sentinel_password", sentinelUser.password);
  const path = primary === null
    ? (topology === "single" ? `/${database}` : "")
    : `/${encodeURIComponent(primary)}`;
  const parameters = query.size === 0 ? "" : `?${query}`;
  return `redis${tls ? "s" : ""}${kind}://${who}${hosts.map(hostText).join(",")}${path}${parameters}`;
}

/** For people: no user, no password. */
export function shownRedis({ hosts, primary }: RedisAddress): string {
  return hosts.map(hostText).join(",") + (primary === null ? "" : `/${primary}`);
}

const NOBODY: RedisUser = { username: null, password: null };

function hostsOf(text: string, topology: RedisTopology): [RedisHost, ...RedisHost[]] {
  const hosts = text.split(",").map((each, i) =>
    hostOf(each, i, topology === "sentinel" ? SENTINEL_PORT : PORT)
  );
  const [first, ...others] = hosts;
  if (topology === "single" && others.length > 0) {
    throw invalid(
      "it has several hosts; those of a Sentinel or a Cluster stand behind redis+sentinel:// or redis+cluster://",
    );
  }
  if (hosts.length > REDIS_HOSTS_MAX) throw invalid(`it has more than ${REDIS_HOSTS_MAX} hosts`);
  return [first!, ...others];
}

function hostOf(text: string, index: number, defaultPort: number): RedisHost {
  const parts = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]{1,253}))(?::(\d{1,5}))?$/.exec(text);
  if (parts === null) throw invalid(`host ${index + 1} is no HOST:PORT`);
  const port = parts[3] === undefined ? defaultPort : Number(parts[3]);
  if (port < 1 || port > 65_535) throw invalid(`the port of host ${index + 1} is not from 1 to 65535`);
  return { host: (parts[1] ?? parts[2])!, port };
}

function hostText({ host, port }: RedisHost): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

function userOf(text: string): RedisUser {
  const colon = text.indexOf(":");
  const username = decoded(colon < 0 ? text : text.slice(0, colon), "the user");
  const password = colon < 0 ? "" : decoded(text.slice(colon + 1), "the password");
  return { username: username || null, password: password || null };
}

function databaseOf(path: string): number {
  if (path === "") return 0;
  if (!/^\d{1,5}$/.test(path)) throw invalid("the database is no number");
  return Number(path);
}

function primaryOf(path: string): { primary: string; database: number } {
  const primary = decoded(path, "the primary's name");
  if (!/^[A-Za-z0-9._-]{1,100}$/.test(primary)) {
    throw invalid(
      "with sentinels the name of the primary follows the hosts, 1 to 100 letters, digits, - . _",
    );
  }
  return { primary, database: 0 };
}

function sentinelUserOf(query: string): RedisUser {
  const found = { username: null as string | null, password: null as string | null };
  for (const [name, value] of new URLSearchParams(query)) {
    if (name === "sentinel_username") found.username = value || null;
    else if (name === "sentinel_password") found.password = value || null;
    else throw invalid("it has a parameter that is neither sentinel_username nor sentinel_password");
  }
  return found;
}

function decoded(text: string, what: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw invalid(`${what} is not percent-encoded as it should be`);
  }
}

function invalid(why: string): GodwitError {
  return new GodwitError("redis.url_invalid", `Cannot use the Redis URL: ${why}`, {
    fault: "us",
    hint: HINT,
  });
}
