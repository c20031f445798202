/** A real redis-server with one ACL user for each kind of publisher and reader, none of them with more than it needs. */
import { mkdirSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { type Server, startServer } from "./child.ts";

export interface RedisPasswords {
  /** Everything; for tests and for the operator. */
  readonly admin: string;
  /** Writes the global stream, reads all. */
  readonly api: string;
  /** Writes the region streams and logs. */
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
  /** @default true */
  readonly durable?: boolean;
  /** Hears of the process before it answers. */
  readonly onSpawn?: (pid: number) => void;
}

export interface RedisServer extends Server {
  urlOf(user: keyof RedisPasswords): string;
}

const rules: Record<keyof RedisPasswords, string> = {
  admin: "~* &* +@all",
  api: "~godwit:* &godwit:* +@read +@connection +@stream +publish +subscribe -@dangerous +info",
  worker:
    "%RW~godwit:state:region:* %RW~godwit:logs:* %R~godwit:* +@read +@connection +@stream +expire +del -@dangerous +info",
  edge: "%R~godwit:state:* +@read +@connection -@dangerous +info",
};

export async function startRedis(options: RedisOptions): Promise<RedisServer> {
  mkdirSync(options.folder, { recursive: true, mode: 0o700 });
  const users = Object.entries(rules).map(([name, rule]) =>
    `user ${name} on >${options.passwords[name as keyof RedisPasswords]} ${rule}`
  );
  const config = join(options.folder, "redis.conf");
  const lines = [
    "bind 127.0.0.1",
    `port ${options.port}`,
    "protected-mode yes",
    "daemonize no",
    `dir ${JSON.stringify(options.folder)}`,
    options.durable === false ? "appendonly no" : "appendonly yes",
    // A publisher forgets an event once Redis has answered, so the answer must survive a power cut.
    "appendfsync always",
    'save ""',
    "maxmemory-policy noeviction",
    "user default off",
    ...users,
  ];
  writeFileSync(config, lines.join("\n") + "\n", { mode: 0o600 });
  const urlOf = (user: keyof RedisPasswords) =>
    `redis://${user}:${options.passwords[user]}@127.0.0.1:${options.port}/0`;
  const server = await startServer({
    name: "redis-server",
    argv: ["redis-server", config],
    logFile: options.logFile,
    onSpawn: options.onSpawn,
    ready: () => pings(options.port, options.passwords.admin),
  });
  return { ...server, urlOf };
}

function pings(port: number, password: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    const done = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    let text = "";
    socket.setTimeout(1_000, () => done(false));
    socket.on("error", () => done(false));
    socket.on("connect", () => socket.write(`AUTH admin ${password}\r\nPING\r\n`));
    socket.on("data", (chunk) => {
      text += chunk.toString("latin1");
      if (text.includes("+PONG")) done(true);
      else if (text.includes("-")) done(false);
    });
  });
}
