/**
 * The configuration file of each process: JSON, mode 0600, named by `--config PATH`. Passwords and tokens stand in these
 * files and nowhere else: not in argv, not in the environment. `deploy/stack` writes them for one machine, an operator's
 * tooling for a fleet.
 */
import { z } from "zod";
import { messageOf } from "./errors.ts";
import { AppName, HostId, Hostname, Port, RegionCode } from "./names.ts";
import { parseRedisUrl } from "./redis-url.ts";
import { PublisherKey } from "./signing.ts";

const Path = z.string().min(1).max(4_096);
/** One server, a Sentinel's primary or a Cluster: the forms are in redis-url.ts. */
const RedisUrl = z.string().superRefine((text, context) => {
  try {
    parseRedisUrl(text);
  } catch (error) {
    context.addIssue({ code: "custom", message: messageOf(error) });
  }
});
/** PEM: who may have signed the certificate of a `rediss:` server. None: the authorities that the runtime knows. */
const CaFile = Path.optional();

export const ControlConfig = z.object({
  schema: z.literal(1),
  listen: z.object({ address: z.string(), port: Port }),
  /** `postgres://user:password@host:port/database`. */
  database_url: z.url({ protocol: /^postgres(ql)?$/ }),
  redis_url: RedisUrl,
  redis_ca_file: CaFile,
  /** Ed25519 key pair that signs access tokens, PKCS #8 PEM; made at first start where missing. */
  token_key_file: Path,
  /** Ed25519 key pair that signs what is published as owner `api`, PKCS #8 PEM, mode 0600; made at first start where missing. */
  publisher_key_file: Path.optional(),
  /** Bearer token by which workers register (`HostRegistration`). */
  node_token: z.string().min(32),
  /** An app gets the host name `NAME.SUFFIX` when it is created. */
  hostname_suffix: z.string().max(253),
  /** Where an app's URL is reached, to be shown to people: `http://{app}.localhost:8080/`. */
  app_url_template: z.string().max(512),
});
export type ControlConfig = z.infer<typeof ControlConfig>;

const IpAddress = z.union([z.ipv4(), z.ipv6()]);

/** A host's membership agent (control/membership/README.md). */
export const MembershipConfig = z.object({
  schema: z.literal(1),
  host_id: HostId,
  /** UDP, on the fleet's private network. */
  listen: z.object({ address: IpAddress, port: Port }),
  /** Where the other hosts reach it; none: `listen`, which must then be one address and not all. */
  advertise: z.object({ address: IpAddress, port: Port }).optional(),
  /** A few hosts that are usually there; this one may be among them. Names are looked up each time. */
  seeds: z.array(z.object({ address: z.string().min(1).max(253), port: Port })).max(16),
  /** Each mode 0600, 32 or more characters, the same on every host. All are accepted, the first one signs. */
  secret_files: z.array(Path).min(1).max(4),
  /** Where the processes of this host are told (contract/membership.ts). */
  socket: Path,
  /** Metrics and status; loopback. */
  admin: z.object({ address: z.string(), port: Port }).nullable(),
});
export type MembershipConfig = z.infer<typeof MembershipConfig>;

/** `HOST[:PORT][/PREFIX]` (containers-registries.conf(5), location). */
const RegistryPlace = z.string().max(512).regex(/^[A-Za-z0-9.:_-]+(?:\/[A-Za-z0-9._-]+)*$/);

export const WorkerConfig = z.object({
  schema: z.literal(1),
  host_id: HostId,
  region: RegionCode,
  /** State that must survive a reboot: `worker.sqlite`, `machines/`, `images/`. */
  state_folder: Path,
  /** Sockets and what must not survive a reboot; on tmpfs, short (unix sockets stop at 108 bytes). */
  run_folder: Path,
  /** `gw` and six hexadecimal digits of the home's hash; begins every kernel name of this stack. */
  prefix: z.string().regex(/^gw[0-9a-f]{6}$/),
  /** `/run/godwit-HASH/worker.sock`. */
  listen_socket: Path,
  /** Where this host's edge asks for starts and stops (`worker-edge-api.ts`); none: it cannot. */
  edge_socket: Path.optional(),
  network: z.object({
    /** IPv4 range that machines' /31 links are cut from, `172.20.16.0/20`. */
    range4: z.string(),
    /** IPv6 /48 of this host; a network of an organisation gets a /64 in it. */
    range6: z.string(),
    nameservers: z.array(z.string()).max(3),
    /** What each machine may send, and what may be sent to it, in bytes a second. @default 125000000, 1 Gbit/s */
    machine_bytes_per_s: z.number().int().min(12_500).max(12_500_000_000).optional(),
  }),
  vmm: z.enum(["auto", "qemu", "runc", "firecracker"]),
  /** Made by deploy/images. */
  guest: z.object({
    kernel_file: Path,
    /** The same kernel as an uncompressed ELF, for Firecracker. @default kernel_file */
    vmlinux_file: Path.optional(),
    initramfs_file: Path,
    init_drive_file: Path,
    init_folder: Path,
  }),
  images: z.object({
    /** containers-auth.json(5) with registry credentials, or null. */
    auth_file: Path.nullable(),
    /** Registries (`HOST:PORT`) that speak plain HTTP; loopback only. */
    insecure_registries: z.array(z.string()).max(16),
    /** Asked before the registry of that name, in order: `HOST[:PORT][/PREFIX]` each. */
    mirrors: z.record(RegistryPlace, z.array(RegistryPlace).min(1).max(8)).optional(),
    /**
     * Images whose name begins so must be signed, as `cosign sign --key` does it, by this key (PEM, ECDSA or Ed25519). The
     * longest prefix counts.
     */
    signatures: z.array(z.object({ prefix: RegistryPlace, public_key_file: Path })).max(64).optional(),
    /** Old images are removed above this, oldest use first, never one in use. */
    cache_mb_max: z.number().int().min(1_024),
    image_mb_max: z.number().int().min(1),
    files_max: z.number().int().min(1),
  }),
  redis_url: RedisUrl,
  redis_ca_file: CaFile,
  control_url: z.url(),
  node_token: z.string().min(32),
  /** What machines may take together: 0 means all that the host has. */
  memory_mb_max: z.number().int().min(0),
});
export type WorkerConfig = z.infer<typeof WorkerConfig>;

/** Where an edge learns what to route. */
export const EdgeRows = z.discriminatedUnion("from", [
  /** The state streams, kept in a replica of its own. */
  z.object({
    from: z.literal("redis"),
    redis_url: RedisUrl,
    redis_ca_file: CaFile,
    /** A link to the database of the present generation, which stands beside it as `FILE.N`. */
    replica_file: Path,
    /** Signs what owner `api` publishes. None: signatures are not looked at, and whoever may write to Redis is believed. */
    api_public_key: PublisherKey.optional(),
    /** Base URLs of those who serve snapshots (snapshots.ts): `http://ADDRESS:PORT` of other edges' `snapshots_listen`. */
    snapshots_from: z.array(z.url({ protocol: /^https?$/ }).max(2_048)).max(64).optional(),
    /** Mode 0600: the bearer token by which snapshots are fetched and served; without one they are served on loopback alone. */
    snapshot_token_file: Path.optional(),
    /** Where this replica's own snapshots are served (edge/snapshot/README.md). None: none is built. */
    snapshots_listen: z.object({ address: z.string(), port: Port }).optional(),
    /**
     * Where programs of this host ask the replica (edge/query/README.md): a unix socket that its owner may open, or loopback
     * with a bearer token from a file of mode 0600. None: nowhere.
     */
    query: z.union([
      z.object({ socket: Path }),
      z.object({ address: z.string(), port: Port, token_file: Path }),
    ]).optional(),
    /** How old the newest snapshot gets at most, in seconds, while anything changes. @default 3600 */
    snapshot_interval_s: z.number().int().min(60).max(604_800).optional(),
    /**
     * Seconds without an answer of Redis, behind the streams, or (45 at least) without news of any owner of rows, past
     * which the edge calls itself stale. @default 60
     */
    stale_after_s: z.number().int().min(1).max(86_400).optional(),
    /** A deleted row is remembered for so long at least; no older snapshot is begun with. @default 86_400 */
    tombstones_kept_s: z.number().int().min(60).max(31_536_000).optional(),
    /** Earlier versions of rows, for `route explain --at`. @default none are kept */
    history: z.object({
      rows_max: z.number().int().min(1).max(10_000_000),
      kept_s: z.number().int().min(1).max(31_536_000),
    }).optional(),
  }),
  /** A file with one row a line, followed as it grows (`edge/rows/rows-file.ts`). */
  z.object({ from: z.literal("file"), file: Path }),
  /** Rows that stand here. */
  z.object({
    from: z.literal("given"),
    rows: z.array(z.object({ table: z.string().max(64), row: z.unknown() })).max(10_000),
  }),
]);
export type EdgeRows = z.infer<typeof EdgeRows>;

export const EdgeListener = z.object({
  address: z.string(),
  port: Port,
  /** The port of `Service.ports` that this listener stands for (80 behind 8080, say). */
  service_port: Port,
  /** HTTP/2 without TLS, for clients that begin with its preface (RFC 9113 section 3.3). */
  h2c: z.boolean().optional(),
  /** Clients speak TLS to it. */
  tls: z.boolean().optional(),
  /** HTTP/2 by ALPN on a TLS listener. @default true */
  http2: z.boolean().optional(),
  /** HTTP/3 beside it, on two UDP ports that take turns when certificates change (edge/http3/README.md). Bun only. */
  http3: z.tuple([Port, Port]).optional(),
  /** It carries bytes and no requests (`handlers: []`): all of them are for the app of this host name. */
  app: Hostname.optional(),
  /** Connections begin with a PROXY header of version 1 or 2. Only a trusted proxy may reach such a listener. */
  proxy_protocol: z.boolean().optional(),
});
export type EdgeListener = z.infer<typeof EdgeListener>;

/**
 * How edges of one fleet hand requests to each other: an edge that picked a machine of another host sends the request to
 * that host's own edge (`HostRow.edge`), which alone knows all that the machine has under way.
 */
export const EdgePeers = z.object({
  /** The same 32 or more characters on every edge of the fleet; whoever has them may reach any machine's services. */
  secret_file: Path,
  /** Where this host's machines are reached by other edges. Private: what comes here says who the client was. */
  listen: z.object({ address: z.string(), port: Port }).nullable(),
});
export type EdgePeers = z.infer<typeof EdgePeers>;

export const TracingConfig = z.object({
  /** Where spans go: OTLP over HTTP, `http://HOST:4318/v1/traces`. */
  otlp_url: z.url({ protocol: /^https?$/ }).max(2_048),
  /** Of requests that come with no decision of their own. */
  sample_ratio: z.number().min(0).max(1).default(0.01),
});
export type TracingConfig = z.infer<typeof TracingConfig>;

/** Files are read again on SIGHUP. */
export const EdgeTls = z.object({
  /** PEM: what answers for names without a certificate of their own. Without the two, the edge signs one itself. */
  certificate_file: Path.optional(),
  key_file: Path.optional(),
  /** JSON (`OpeningKeys` in sealing.ts), mode 0600: opens the private keys of certificates' rows. */
  sealing_key_file: Path.optional(),
}).refine((tls) => (tls.certificate_file === undefined) === (tls.key_file === undefined), {
  message: "certificate_file and key_file need each other",
});
export type EdgeTls = z.infer<typeof EdgeTls>;

export const EdgeConfig = z.object({
  schema: z.literal(1),
  edge_id: HostId,
  /** The worker host that this edge stands on; none for an edge in front alone. */
  host_id: HostId.optional(),
  peers: EdgePeers.optional(),
  /** Where the worker of `host_id` starts and stops machines (`worker-edge-api.ts`); none: nothing is started on demand. */
  worker_socket: Path.optional(),
  /** Where this host's membership agent tells which hosts are dead (`membership.ts`); none: rows alone say so. */
  membership_socket: Path.optional(),
  region: RegionCode,
  /** Regions followed in detail; empty means all that the global stream names. */
  regions: z.array(RegionCode).max(64),
  listeners: z.array(EdgeListener).min(1).max(64),
  /** Metrics, status, replica state; loopback. */
  admin: z.object({ address: z.string(), port: Port }).nullable(),
  rows: EdgeRows,
  /** For listeners with `tls`. */
  tls: EdgeTls.optional(),
  access_log: z.union([z.literal("-"), z.literal("off"), Path]),
  /** Services' `jwks_url` may name plain HTTP and private addresses: for an issuer inside the operator's network. */
  private_key_sets: z.boolean().optional(),
  /** OpenTelemetry; absent: off, and a client's trace context goes to the machine as it came. */
  tracing: TracingConfig.optional(),
  /** Processes that share the listeners' ports, kept by a supervisor; without it one process does all. */
  workers: z.number().int().min(1).max(64).optional(),
  /** Seconds that connections of a replaced worker may live. */
  drain_s: z.number().int().min(1).max(86_400).optional(),
  /** Value of the `Fly-Region` request header and the like come from `region`; this is the Server header. */
  server_name: AppName.default("godwit"),
});
export type EdgeConfig = z.infer<typeof EdgeConfig>;
