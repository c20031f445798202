/** home.json and secrets.json: what a home remembers between two `up`s. Both are written whole and renamed into place. */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { z } from "zod";
import { GodwitError, messageOf } from "../../control/contract/errors.ts";
import { Port, RegionCode } from "../../control/contract/names.ts";
import { newPassword } from "../servers/child.ts";
import type { Home } from "./home.ts";
import { PORT_BASE_DEFAULT } from "./ports.ts";

export const HOME_SCHEMA = 1;

export const Vmm = z.enum(["auto", "qemu", "runc", "firecracker"]);
export type Vmm = z.infer<typeof Vmm>;

export const HomeRecord = z.object({
  schema: z.literal(HOME_SCHEMA),
  created_at: z.string(),
  port_base: Port,
  vmm: Vmm,
  region: RegionCode,
  host_id: z.string(),
  /** Private ranges of the machines, chosen once; null before the first start. */
  ranges: z.object({ range4: z.string(), range6: z.string() }).nullable(),
  /** Hash of the example that is deployed; null until it answered once. */
  example: z.string().nullable(),
});
export type HomeRecord = z.infer<typeof HomeRecord>;

export const Secrets = z.object({
  schema: z.literal(1),
  postgres: z.string().min(20),
  redis: z.object({
    admin: z.string().min(20),
    api: z.string().min(20),
    worker: z.string().min(20),
    edge: z.string().min(20),
  }),
  registry: z.string().min(20),
  node_token: z.string().min(32),
  snapshots: z.string().min(32),
  membership: z.string().min(32),
});
export type Secrets = z.infer<typeof Secrets>;

/** Element N makes schema N+2 of schema N+1. */
const migrations: ((old: Record<string, unknown>) => Record<string, unknown>)[] = [];

/** Pure: the record in today's schema, or a refusal in words. */
export function parseHomeRecord(text: string, file: string): HomeRecord {
  let record: Record<string, unknown>;
  try {
    record = JSON.parse(text);
  } catch (error) {
    throw damaged(file, messageOf(error));
  }
  const schema = record.schema;
  if (typeof schema !== "number") throw damaged(file, "it names no schema");
  if (schema > HOME_SCHEMA) {
    throw new GodwitError(
      "home.newer",
      `${file} was written by a newer Godwit (schema ${schema}; this one knows ${HOME_SCHEMA}): not touching it`,
      { fault: "client", hint: "use that newer version, or another GODWIT_HOME" },
    );
  }
  for (const migrate of migrations.slice(schema - 1)) record = migrate(record);
  const parsed = HomeRecord.safeParse(record);
  if (!parsed.success) throw damaged(file, z.prettifyError(parsed.error));
  return parsed.data;
}

function damaged(file: string, what: string): GodwitError {
  return new GodwitError("home.damaged", `Cannot use ${file}: ${what}`, {
    fault: "us",
    hint: "restore the file from a backup, or start with another GODWIT_HOME",
  });
}

/** The record, or null where this folder is not a home yet. */
export function readHomeRecord(home: Home): HomeRecord | null {
  if (!existsSync(home.recordFile)) return null;
  return parseHomeRecord(readFileSync(home.recordFile, "utf8"), home.recordFile);
}

export function newHomeRecord(now: Date): HomeRecord {
  return {
    schema: HOME_SCHEMA,
    created_at: now.toISOString(),
    port_base: PORT_BASE_DEFAULT,
    vmm: "auto",
    region: "dev",
    host_id: "local",
    ranges: null,
    example: null,
  };
}

export function writeHomeRecord(home: Home, record: HomeRecord): void {
  mkdirSync(home.folder, { recursive: true, mode: 0o700 });
  writePrivately(home.recordFile, record);
}

/** The generated passwords; made at the first call, and those that an earlier version did not need at the next. */
export function secretsOf(home: Home): Secrets {
  const added = { snapshots: newPassword(), membership: newPassword() };
  if (existsSync(home.secretsFile)) {
    const kept: object = JSON.parse(readFileSync(home.secretsFile, "utf8"));
    const parsed = Secrets.safeParse({ ...added, ...kept });
    if (!parsed.success) throw damaged(home.secretsFile, "it does not hold the generated passwords");
    if (Object.keys(added).some((name) => !(name in kept))) writePrivately(home.secretsFile, parsed.data);
    return parsed.data;
  }
  const secrets: Secrets = {
    schema: 1,
    postgres: newPassword(),
    redis: { admin: newPassword(), api: newPassword(), worker: newPassword(), edge: newPassword() },
    registry: newPassword(),
    node_token: newPassword() + newPassword(),
    ...added,
  };
  writePrivately(home.secretsFile, secrets);
  return secrets;
}

/** JSON with mode 0600, whole or not at all. */
export function writePrivately(file: string, value: unknown): void {
  writeFileSync(`${file}.new`, JSON.stringify(value, null, 2) + "\n", { mode: 0o600 });
  renameSync(`${file}.new`, file);
}
