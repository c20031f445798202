/** A real redis-server with one ACL user for each kind of publisher and reader, none of them with more than it needs. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { type Server, startServer } from "./child.ts";

export interface RedisPasswords {
  /** Everything; for tests and for the operator. */
  readonly admin: string;
  /** Writes the global stream, reads all. */
  readonly api: string;
  /** Writes the region streams and logs, of any region; there is such a user only where `workers` names none. */
  readonly worker: string;
  /** Reads the state streams. */
  readonly edge: string;
}

export interface RedisOptions {
  /** Holds the append-only file; made where missing. */
  readonly folder: string;
  readonly port: number;
  readonly passwords: RedisPasswords;
  readonly logFile: string;
  /** Each gets a user of its own. */
  readonly workers?: readonly RedisWorker[];
  /** It speaks TLS alone, and `urlOf` names it as `rediss:`. */
  readonly tls?: RedisTls;
  /** It is one of a cluster's. */
  readonly inCluster?: boolean;
  /** Further lines of its configuration. */
  readonly more?: readonly string[];
  /** @default true */
  readonly durable?: boolean;
  /** Hears of the process before it answers. */
  readonly onSpawn?: (pid: number) => void;
}

/** User `worker-HOST_ID`: writes its own region's stream, and logs. */
export interface RedisWorker {
  readonly hostId: string;
  readonly region: string;
  readonly password: string;
}

/** PEM files. The certificate must name 127.0.0.1. */
export interface RedisTls {
  readonly certificateFile: string;
  readonly keyFile: string;
  readonly caFile: string;
}

export type RedisUser = keyof RedisPasswords | `worker-${string}`;

export interface RedisServer extends Server {
  urlOf(user: RedisUser): string;
}

export function redisUserOf(hostId: string): RedisUser {
  return `worker-${hostId}`;
}

/** Of the commands that change something, a publisher has the one that appends. INFO is how a client finds it ready. */
const APPENDS = "+@read +@connection +xadd -@dangerous +info";
const rules: Record<keyof RedisPasswords, string> = {
  admin: "~* &* +@all",
  api: `%RW~godwit:state:global %R~godwit:* ${APPENDS}`,
  worker: `%RW~godwit:state:region:* %RW~godwit:logs:* ${APPENDS}`,
  edge: "%R~godwit:state:* +@read +@connection -@dangerous +info",
};

/** How clients of a cluster learn who has what. */
const CLUSTER = " +cluster|slots +cluster|info";

export async function startRedis(options: RedisOptions): Promise<RedisServer> {
  mkdirSync(options.folder, { recursive: true, mode: 0o700 });
  const users = usersOf(options);
  if (options.inCluster === true) { for (const user of users.values()) user.rule += CLUSTER; }
  const config = join(options.folder, "redis.conf");
  const lines = [
    "bind 127.0.0.1",
    ...portLines(options),
    "protected-mode yes",
    "daemonize no",
    `dir ${JSON.stringify(options.folder)}`,
    options.durable === false ? "appendonly no" : "appendonly yes",
    // A publisher forgets an event once Redis has answered, so the answer must survive a power cut.
    "appendfsync always",
    'save ""',
    "maxmemory-policy noeviction",
    ...(options.inCluster === true ? ["cluster-enabled yes", "cluster-config-file nodes.conf"] : []),
    ...options.more ?? [],
    "user default off",
    ...Array.from(users, ([name, { password, rule }]) => `user ${name} on >${password} ${rule}`),
  ];
  writeFileSync(config, lines.join("\n") + "\n", { mode: 0o600 });
  const scheme = options.tls === undefined ? "redis" : "rediss";
  const urlOf = (user: RedisUser) => {
    const { password } = users.get(user) ?? {};
    if (password === undefined) throw new Error(`this Redis has no user ${user}`);
    return `${scheme}://${user}:${password}@127.0.0.1:${options.port}/0`;
  };
  const server = await startServer({
    name: "redis-server",
    argv: ["redis-server", config],
    logFile: options.logFile,
    onSpawn: options.onSpawn,
    ready: () => pings(options),
  });
  return { ...server, urlOf };
}

function usersOf({ passwords, workers }: RedisOptions): Map<string, { password: string; rule: string }> {
  const users = new Map<string, { password: string; rule: string }>();
  for (const name of Object.keys(rules) as (keyof RedisPasswords)[]) {
    if (name === "worker" && workers !== undefined) continue;
    users.set(name, { password: passwords[name], rule: rules[name] });
  }
  for (const { hostId, region, password } of workers ?? []) {
    const rule = `%RW~godwit:state:region:${region} %RW~godwit:logs:* ${APPENDS}`;
    users.set(redisUserOf(hostId), { password, rule });
  }
  return users;
}

/** Of a server, or of a sentinel. */
export function portLines({ port, tls }: Pick<RedisOptions, "port" | "tls">): string[] {
  if (tls === undefined) return [`port ${port}`];
  return [
    "port 0",
    `tls-port ${port}`,
    `tls-cert-file ${JSON.stringify(tls.certificateFile)}`,
    `tls-key-file ${JSON.stringify(tls.keyFile)}`,
    `tls-ca-cert-file ${JSON.stringify(tls.caFile)}`,
    // Clients show who they are by their password.
    "tls-auth-clients no",
  ];
}

function pings({ port, passwords, tls }: RedisOptions): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = tls === undefined
      ? connect(port, "127.0.0.1")
      : connectTls({ port, host: "127.0.0.1", ca: readFileSync(tls.caFile) });
    const done = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    let text = "";
    socket.setTimeout(1_000, () => done(false));
    socket.on("error", () => done(false));
    const hello = () => socket.write(`AUTH admin ${passwords.admin}\r\nPING\r\n`);
    socket.on(tls === undefined ? "connect" : "secureConnect", hello);
    socket.on("data", (chunk) => {
      text += chunk.toString("latin1");
      if (text.includes("+PONG")) done(true);
      else if (text.includes("-")) done(false);
    });
  });
}
