/**
 * The pool of connections to Postgres. All access goes through `read` and `transaction`, so that what a driver throws
 * becomes a typed error in one place: a server that is away is `store.unavailable` and worth a retry (mutations carry
 * idempotency keys, so that a commit whose answer was lost is found again). Bun.SQL opens connections anew by itself.
 */
import { type ReservedSQL, SQL, type TransactionSQL } from "bun";
import { GodwitError, messageOf } from "../contract/errors.ts";

export const CONNECTIONS_MAX = 10;
export const CONNECT_TIMEOUT_S = 5;
export const STATEMENT_TIMEOUT_MS = 15_000;

/** What functions of a noun take: the pool or a transaction. */
export type Sql = SQL | TransactionSQL | ReservedSQL;

/** SQLSTATE classes and codes of a server that is away, starting, stopping or full. */
const awayState = /^(08...|57P0[123]|53300|57014|40001|40P01)$/;

export interface OwnConnection {
  readonly sql: ReservedSQL;
  close(): Promise<void>;
}

export class Store {
  readonly #url: string;
  readonly #pool: SQL;

  constructor(databaseUrl: string) {
    this.#url = databaseUrl;
    this.#pool = new SQL(databaseUrl, {
      max: CONNECTIONS_MAX,
      connectionTimeout: CONNECT_TIMEOUT_S,
      connection: { application_name: "godwit-control", statement_timeout: String(STATEMENT_TIMEOUT_MS) },
    });
  }

  /** For statements that stand alone. */
  async read<T>(work: (sql: Sql) => Promise<T>): Promise<T> {
    try {
      return await work(this.#pool);
    } catch (error) {
      throw this.#typed(error);
    }
  }

  /** All of `work` or nothing. */
  async transaction<T>(work: (tx: Sql) => Promise<T>): Promise<T> {
    try {
      return await this.#pool.begin(async (tx) => await work(tx)) as T;
    } catch (error) {
      throw this.#typed(error);
    }
  }

  /** A connection outside the pool, for session locks: they end when it is closed, or lost. */
  async ownConnection(): Promise<OwnConnection> {
    const own = new SQL(this.#url, {
      max: 1,
      connectionTimeout: CONNECT_TIMEOUT_S,
      connection: { application_name: "godwit-control-locks" },
    });
    try {
      // Reserved, because a pool would replace a lost connection silently, and the locks would be gone with it.
      const sql = await own.reserve();
      return { sql, close: () => own.close({ timeout: 0 }) };
    } catch (error) {
      await own.close({ timeout: 0 });
      throw this.#typed(error);
    }
  }

  /** Calls `onNotify` at each notification, and each time that listening begins (anew). Returns the way to stop. */
  async listen(channel: string, onNotify: () => void): Promise<() => Promise<void>> {
    try {
      const subscription = await this.#pool.listen(channel, onNotify, onNotify);
      return () => subscription.unlisten();
    } catch (error) {
      throw this.#typed(error);
    }
  }

  async ping(): Promise<void> {
    await this.read((sql) => sql`SELECT 1`);
  }

  async close(): Promise<void> {
    await this.#pool.close({ timeout: 1 });
  }

  #typed(error: unknown): unknown {
    if (!isAway(error) && !(error instanceof DOMException)) return error;
    const { host } = new URL(this.#url);
    return new GodwitError("store.unavailable", `Cannot reach Postgres at ${host}: ${messageOf(error)}`, {
      fault: "us",
      retryable: true,
      hint: "Check that Postgres runs and that `database_url` names it, then try again.",
      cause: error,
    });
  }
}

/** True where nothing is wrong with the request: the server was away, or ended the statement for its own reasons. */
export function isAway(error: unknown): boolean {
  if (!(error instanceof SQL.PostgresError)) return false;
  if (error.code === "ERR_POSTGRES_SERVER_ERROR") return awayState.test(error.errno ?? "");
  return error.code.startsWith("ERR_POSTGRES_CONNECTION") || error.code.endsWith("_TIMEOUT");
}

/** For a parameter that is cast `::text::jsonb`; Bun.SQL would encode a string twice. */
export function json(value: unknown): string | null {
  return value === null || value === undefined ? null : JSON.stringify(value);
}
