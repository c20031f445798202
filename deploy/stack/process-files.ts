/** Writes the configuration files of control, worker and edge (control/contract/process-config.ts) for one machine. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { ControlConfig, EdgeConfig, WorkerConfig } from "../../control/contract/process-config.ts";
import type { PublisherKey } from "../../control/contract/signing.ts";
import { loadSigningKey } from "../../control/publish/signing-key-file.ts";
import { redisUserOf } from "../servers/redis.ts";
import type { Home } from "./home.ts";
import { type HomeRecord, type Secrets, writePrivately } from "./home-record.ts";
import type { PortPlan } from "./ports.ts";

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

export const configFileOf = (home: Home, part: "control" | "worker" | "edge") =>
  join(home.folder, part, "config.json");

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

/** Pure: what each process is told. */
export function processConfigs(facts: StackFacts) {
  const { home, record, secrets, ports, elsewhere } = facts;
  if (record.ranges === null) {
    throw new Error("Invariant broken: ranges are chosen before configs are written");
  }
  const redisUrl = (part: "api" | "worker" | "edge") => {
    const user = part === "worker" ? redisUserOf(record.host_id) : part;
    return elsewhere.redisUrl ?? `redis://${user}:${secrets.redis[part]}@127.0.0.1:${ports.redis}/0`;
  };
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
    region: record.region,
    regions: [],
    listeners: [{ address: "127.0.0.1", port: ports.edge, service_port: 80 }],
    admin: { address: "127.0.0.1", port: ports.edge_admin },
    rows: {
      from: "redis",
      redis_url: redisUrl("edge"),
      replica_file: join(home.folder, "edge", "replica.sqlite"),
      api_public_key: facts.apiPublicKey,
    },
    access_log: join(home.logs, "access.log"),
    server_name: "godwit",
  };
  return {
    control: ControlConfig.parse(control),
    worker: WorkerConfig.parse(worker),
    edge: EdgeConfig.parse(edge),
  };
}

export function writeProcessFiles(given: Omit<StackFacts, "apiPublicKey">): void {
  const facts = { ...given, apiPublicKey: loadSigningKey(publisherKeyFileOf(given.home)).publicKey };
  const configs = processConfigs(facts);
  for (const part of ["control", "worker", "edge"] as const) {
    mkdirSync(join(facts.home.folder, part), { recursive: true, mode: 0o700 });
    writePrivately(configFileOf(facts.home, part), configs[part]);
  }
}
