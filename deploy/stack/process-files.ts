/** Writes what the processes of one machine are told (control/contract/process-config.ts), and the secrets beside it. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  ControlConfig,
  EdgeConfig,
  MembershipConfig,
  WorkerConfig,
} from "../../control/contract/process-config.ts";
import type { PublisherKey } from "../../control/contract/signing.ts";
import { loadSigningKey } from "../../control/publish/signing-key-file.ts";
import { redisUserOf } from "../servers/redis.ts";
import type { Home } from "./home.ts";
import { type HomeRecord, type Secrets, writePrivately } from "./home-record.ts";
import type { PortPlan } from "./ports.ts";

/** For `route explain --at`. */
const HISTORY_ROWS_MAX = 10_000;
const HISTORY_KEPT_S = 86_400;
const IMAGE_CACHE_MB_MAX = 20_480;
const IMAGE_MB_MAX = 8_192;
const IMAGE_FILES_MAX = 500_000;

export interface GuestFiles {
  readonly kernelFile: string;
  readonly vmlinuxFile: string;
  readonly initramfsFile: string;
  readonly initDriveFile: string;
  readonly initFolder: string;
}

/** Servers that stand elsewhere: GODWIT_DATABASE_URL and GODWIT_REDIS_URL. */
export interface Elsewhere {
  readonly databaseUrl: string | null;
  readonly redisUrl: string | null;
}

export function elsewhereFromEnvironment(env: Record<string, string | undefined> = process.env): Elsewhere {
  return { databaseUrl: env.GODWIT_DATABASE_URL || null, redisUrl: env.GODWIT_REDIS_URL || null };
}

export const CONFIGURED_PARTS = ["control", "worker", "membership", "edge"] as const;
export type ConfiguredPart = (typeof CONFIGURED_PARTS)[number];
export const configFileOf = (home: Home, part: ConfiguredPart) => join(home.folder, part, "config.json");

/** Files of the replica beside control, which gets no configuration but options. */
export const snapshotFilesOf = (home: Home) => {
  const folder = join(home.folder, "snapshots");
  return {
    folder,
    replica: join(folder, "replica.sqlite"),
    token: join(folder, "token"),
    redisPassword: join(folder, "redis-password"),
  };
};
const membershipSecretFileOf = (home: Home) => join(home.folder, "membership", "secret");

export const registryHostOf = (ports: PortPlan) => `127.0.0.1:${ports.registry}`;
/** deploy/servers/registry.ts writes it there. */
export const registryAuthFileOf = (home: Home) => join(home.folder, "registry", "auth.json");

export interface StackFacts {
  readonly home: Home;
  readonly record: HomeRecord;
  readonly secrets: Secrets;
  readonly ports: PortPlan;
  readonly elsewhere: Elsewhere;
  readonly guest: GuestFiles;
  /** Of the key in `publisherKeyFileOf`. */
  readonly apiPublicKey: PublisherKey;
}

/** Control signs with it what it publishes. Made here and not by control, because the edge must know the public key. */
export const publisherKeyFileOf = (home: Home) => join(home.folder, "control", "publisher-key.pem");

/** Pure. */
export function redisUrlOf(
  { record, secrets, ports, elsewhere }: Pick<StackFacts, "record" | "secrets" | "ports" | "elsewhere">,
  part: "api" | "worker" | "edge",
): string {
  const user = part === "worker" ? redisUserOf(record.host_id) : part;
  return elsewhere.redisUrl ?? `redis://${user}:${secrets.redis[part]}@127.0.0.1:${ports.redis}/0`;
}

/** Pure: what each process is told. */
export function processConfigs(facts: StackFacts) {
  const { home, record, secrets, ports, elsewhere } = facts;
  if (record.ranges === null) {
    throw new Error("Invariant broken: ranges are chosen before configs are written");
  }
  const redisUrl = (part: "api" | "worker" | "edge") => redisUrlOf(facts, part);
  const control: ControlConfig = {
    schema: 1,
    listen: { address: "127.0.0.1", port: ports.api },
    database_url: elsewhere.databaseUrl ??
      `postgres://godwit:${secrets.postgres}@127.0.0.1:${ports.postgres}/godwit`,
    redis_url: redisUrl("api"),
    token_key_file: join(home.folder, "control", "token-key.pem"),
    publisher_key_file: publisherKeyFileOf(home),
    node_token: secrets.node_token,
    hostname_suffix: "localhost",
    app_url_template: `http://{app}.localhost:${ports.edge}/`,
  };
  const worker: WorkerConfig = {
    schema: 1,
    host_id: record.host_id,
    region: record.region,
    state_folder: join(home.folder, "worker"),
    run_folder: home.runFolder,
    prefix: home.prefix,
    listen_socket: home.workerSocket,
    edge_socket: home.edgeSocket,
    network: { ...record.ranges, nameservers: ["1.1.1.1", "8.8.8.8"] },
    vmm: record.vmm,
    guest: {
      kernel_file: facts.guest.kernelFile,
      vmlinux_file: facts.guest.vmlinuxFile,
      initramfs_file: facts.guest.initramfsFile,
      init_drive_file: facts.guest.initDriveFile,
      init_folder: facts.guest.initFolder,
    },
    images: {
      auth_file: registryAuthFileOf(home),
      insecure_registries: [registryHostOf(ports)],
      cache_mb_max: IMAGE_CACHE_MB_MAX,
      image_mb_max: IMAGE_MB_MAX,
      files_max: IMAGE_FILES_MAX,
    },
    redis_url: redisUrl("worker"),
    control_url: `http://127.0.0.1:${ports.api}`,
    node_token: secrets.node_token,
    memory_mb_max: 0,
  };
  const edge: EdgeConfig = {
    schema: 1,
    edge_id: `${record.host_id}-edge`,
    host_id: record.host_id,
    worker_socket: home.edgeSocket,
    membership_socket: home.membershipSocket,
    region: record.region,
    regions: [],
    listeners: [{ address: "127.0.0.1", port: ports.edge, service_port: 80 }],
    admin: { address: "127.0.0.1", port: ports.edge_admin },
    rows: {
      from: "redis",
      redis_url: redisUrl("edge"),
      replica_file: join(home.folder, "edge", "replica.sqlite"),
      api_public_key: facts.apiPublicKey,
      snapshots_from: [`http://127.0.0.1:${ports.snapshots}`],
      snapshot_token_file: snapshotFilesOf(home).token,
      query: { socket: home.replicaSocket },
      history: { rows_max: HISTORY_ROWS_MAX, kept_s: HISTORY_KEPT_S },
    },
    access_log: join(home.logs, "access.log"),
    server_name: "godwit",
  };
  const membership: MembershipConfig = {
    schema: 1,
    host_id: record.host_id,
    listen: { address: "127.0.0.1", port: ports.membership },
    // It is alone.
    seeds: [],
    secret_files: [membershipSecretFileOf(home)],
    socket: home.membershipSocket,
    admin: null,
  };
  return {
    control: ControlConfig.parse(control),
    worker: WorkerConfig.parse(worker),
    membership: MembershipConfig.parse(membership),
    edge: EdgeConfig.parse(edge),
  };
}

export function writeProcessFiles(given: Omit<StackFacts, "apiPublicKey">): void {
  const facts = { ...given, apiPublicKey: loadSigningKey(publisherKeyFileOf(given.home)).publicKey };
  const configs = processConfigs(facts);
  const { home, secrets } = facts;
  const snapshots = snapshotFilesOf(home);
  for (const folder of [...CONFIGURED_PARTS.map((part) => join(home.folder, part)), snapshots.folder]) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  }
  for (const part of CONFIGURED_PARTS) writePrivately(configFileOf(home, part), configs[part]);
  const { password } = new URL(redisUrlOf(facts, "edge"));
  for (
    const [file, secret] of [
      [membershipSecretFileOf(home), secrets.membership],
      [snapshots.token, secrets.snapshots],
      [snapshots.redisPassword, decodeURIComponent(password)],
    ] as const
  ) writeFileSync(file, secret, { mode: 0o600 });
}

/** Options of `edge/main.ts replica` for the replica beside control that builds snapshots and serves them. */
export function replicaArgv(
  facts: Pick<StackFacts, "home" | "record" | "secrets" | "ports" | "elsewhere">,
): string[] {
  const { home, ports } = facts;
  const files = snapshotFilesOf(home);
  const redis = new URL(redisUrlOf(facts, "edge"));
  const password = redis.password === "" ? [] : ["--redis-password-file", files.redisPassword];
  redis.password = "";
  return [
    ...["replica", "--redis", redis.href, ...password, "--file", files.replica],
    ...["--api-public-key", loadSigningKey(publisherKeyFileOf(home)).publicKey],
    ...["--snapshots-listen", `127.0.0.1:${ports.snapshots}`, "--snapshot-token-file", files.token],
    ...["--admin", home.snapshotsSocket],
  ];
}
