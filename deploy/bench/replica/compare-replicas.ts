/**
 * Compares replicas' files with what the streams say, by code that shares nothing with a replica's: the newest version of
 * each key, folded from every entry, against every row of every file.
 */
import { Database } from "bun:sqlite";
import type { Redis } from "ioredis";
import { GodwitError } from "../../../control/contract/errors.ts";

const PAGE_ENTRIES = 500;

interface Expected {
  readonly epoch: number;
  readonly seq: number;
  readonly deleted: boolean;
  readonly row: unknown;
}

/** `TABLE KEY` → the newest. */
export type ExpectedRows = Map<string, Expected>;

export async function expectedRows(redis: Redis): Promise<ExpectedRows> {
  const rows: ExpectedRows = new Map();
  for (const stream of await redis.keys("godwit:state:*")) {
    for (let after = "-";;) {
      const entries = await redis.xrange(stream, after, "+", "COUNT", PAGE_ENTRIES);
      for (const [, fields] of entries) {
        const at = fields.indexOf("batch");
        if (at !== -1 && at % 2 === 0) { for (const event of JSON.parse(fields[at + 1]!)) fold(rows, event); }
      }
      const last = entries.at(-1);
      if (last === undefined) break;
      after = `(${last[0]}`;
    }
  }
  return rows;
}

// deno-lint-ignore no-explicit-any -- what stands in the stream, read without the contract's schemas on purpose
function fold(rows: ExpectedRows, event: any): void {
  const name = `${event.table} ${event.key}`;
  const { epoch, seq } = event.version;
  const known = rows.get(name);
  if (known !== undefined && (known.epoch > epoch || (known.epoch === epoch && known.seq >= seq))) return;
  rows.set(name, { epoch, seq, deleted: event.deleted, row: event.row });
}

/**
 * @returns how many rows were compared
 * @throws GodwitError `bench.replica_differs`
 */
export function compareReplica(file: string, expected: ExpectedRows): number {
  const tables = new Set(Array.from(expected.keys(), (name) => name.slice(0, name.indexOf(" "))));
  const database = new Database(file, { readonly: true });
  let compared = 0;
  try {
    for (const table of tables) {
      const found = database.query<
        { key: string; epoch: number; seq: number; deleted: number; row: string | null },
        []
      >(`SELECT key, epoch, seq, deleted, row FROM ${table}`);
      for (const { key, epoch, seq, deleted, row } of found.iterate()) {
        const wanted = expected.get(`${table} ${key}`);
        compared++;
        const same = wanted !== undefined && wanted.epoch === epoch && wanted.seq === seq &&
          wanted.deleted === (deleted === 1) &&
          Bun.deepEquals(wanted.row, row === null ? null : JSON.parse(row));
        if (!same) throw differs(file, `${table} ${key} is of version ${epoch}.${seq}`);
      }
    }
  } finally {
    database.close();
  }
  if (compared !== expected.size) throw differs(file, `it has ${compared} rows of ${expected.size}`);
  return compared;
}

function differs(file: string, how: string): GodwitError {
  return new GodwitError("bench.replica_differs", `${file} is not what the streams say: ${how}`, {
    fault: "us",
  });
}
