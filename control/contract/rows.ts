/**
 * The routing projection: all that travels to the edges, and nothing else. Environment, files, secrets, registry
 * credentials and unsealed keys have no table here, so they cannot be published.
 *
 * A row is always published whole by the one owner of its key. `ownerMayWrite` is that rule; replicas refuse the rest.
 */
import { z } from "zod";
import { MachineState, Services } from "./machine.ts";
import { AppName, HostId, Hostname, MachineId, OrgSlug, RegionCode, RowId } from "./names.ts";
import { PublisherKey } from "./signing.ts";

/**
 * Key: the host name, or a pattern: `*.example.com` is every name with one label more or several, `*` is any name. The
 * longest match wins.
 */
export const HostnameRow = z.object({
  hostname: z.union([Hostname, z.literal("*"), z.templateLiteral(["*.", Hostname])]),
  app_id: RowId,
});
/** Key: the app's id. */
export const AppRow = z.object({
  id: RowId,
  name: AppName,
  org_id: RowId,
  org_slug: OrgSlug,
  services: Services,
});
/** Key: `HOST_ID/MACHINE_ID`, so that the key alone tells who may write it. */
export const MachineRow = z.object({
  id: MachineId,
  app_id: RowId,
  host_id: HostId,
  region: RegionCode,
  release_id: RowId,
  state: MachineState,
  cordoned: z.boolean(),
  /** The address that services are reached at; null before the network is up. */
  address4: z.string().max(15).nullable(),
  address6: z.string().max(45).nullable(),
  /** Ports inside the VM that its services name. */
  services: Services,
  started_at_ms: z.number().int().nullable(),
  /** What the worker's checks say; absent where the service has none. */
  healthy: z.boolean().optional(),
});
/** Key: the host's id. */
export const HostRow = z.object({
  id: HostId,
  region: RegionCode,
  state: z.enum(["ready", "cordoned", "leaving"]),
  cpus: z.number().int().min(1),
  memory_mb: z.number().int().min(1),
  /** Where this host's own edge takes requests that other edges send for its machines: `ADDRESS:PORT`. */
  edge: z.string().max(64).optional(),
});

/** Key: `NAME/SOURCE`, so that a name has its custom certificate and the one by ACME beside it. */
export const CertificateRow = z.object({
  /** The name that clients ask for; `*.example.com` is every name with exactly one label more (RFC 9525 section 6.3). */
  name: z.union([Hostname, z.templateLiteral(["*.", Hostname])]),
  /** A custom certificate comes before one by ACME while it is valid. */
  source: z.enum(["custom", "acme"]),
  /** PEM, the certificate of the name first. */
  chain: z.string().max(32_768).startsWith("-----BEGIN CERTIFICATE-----"),
  /** The private key, sealed to the edges (`sealing.ts`). */
  sealed_key: z.string().max(16_384).regex(
    /^[\w-]+(?:\.[\w-]*){4}$/,
    "a sealed key is a JWE in compact form",
  ),
  not_after_ms: z.number().int().min(0),
});
const AcmeToken = z.string().min(22).max(128).regex(
  /^[\w-]+$/,
  "a token is base64url (RFC 8555 section 8.1)",
);
const KeyAuthorization = z.string().max(256).regex(/^[\w-]+\.[\w-]{43}$/, "TOKEN.THUMBPRINT");
/** Key: `http-01/TOKEN`, because nobody can guess one (RFC 8555 section 8.3), or `tls-alpn-01/HOST`. */
export const AcmeAnswerRow = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("http-01"),
    host: Hostname,
    token: AcmeToken,
    key_authorization: KeyAuthorization,
  }),
  z.object({ type: z.literal("tls-alpn-01"), host: Hostname, key_authorization: KeyAuthorization }),
]);

/** Key: the owner. Who may sign for it; the API's own key stands in each replica's configuration. */
export const PublisherRow = z.object({
  owner: z.templateLiteral(["worker:", HostId]),
  public_key: PublisherKey,
});

export type HostnameRow = z.infer<typeof HostnameRow>;
export type PublisherRow = z.infer<typeof PublisherRow>;
export type AppRow = z.infer<typeof AppRow>;
export type MachineRow = z.infer<typeof MachineRow>;
export type HostRow = z.infer<typeof HostRow>;
export type CertificateRow = z.infer<typeof CertificateRow>;
export type AcmeAnswerRow = z.infer<typeof AcmeAnswerRow>;

/** Which stream a table travels on: `global`, or the one of the row's region. */
export const TABLES = {
  hostnames: { scope: "global", row: HostnameRow },
  apps: { scope: "global", row: AppRow },
  certificates: { scope: "global", row: CertificateRow },
  acme_answers: { scope: "global", row: AcmeAnswerRow },
  publishers: { scope: "global", row: PublisherRow },
  machines: { scope: "region", row: MachineRow },
  hosts: { scope: "region", row: HostRow },
} as const;
export type TableName = keyof typeof TABLES;
export const TABLE_NAMES = Object.keys(TABLES) as TableName[];

export type RowOf<T extends TableName> = z.infer<(typeof TABLES)[T]["row"]>;

/** The key a row must be published under. */
export function keyOf<T extends TableName>(table: T, row: RowOf<T>): string {
  switch (table) {
    case "hostnames":
      return (row as HostnameRow).hostname;
    case "machines":
      return `${(row as MachineRow).host_id}/${(row as MachineRow).id}`;
    case "publishers":
      return (row as PublisherRow).owner;
    case "certificates":
      return `${(row as CertificateRow).name}/${(row as CertificateRow).source}`;
    case "acme_answers": {
      const answer = row as AcmeAnswerRow;
      return answer.type === "http-01" ? `http-01/${answer.token}` : `tls-alpn-01/${answer.host}`;
    }
    default:
      return (row as AppRow | HostRow).id;
  }
}

/** `api` owns the global tables; `worker:HOST_ID` owns that host's row and its machines. */
export function ownerMayWrite(owner: string, table: TableName, key: string): boolean {
  if (TABLES[table].scope === "global") return owner === "api";
  const host = table === "machines" ? key.slice(0, key.indexOf("/")) : key;
  return owner === `worker:${host}`;
}
