/** The processes of a stack in the order of their start, each with how to start it and how to know that it answers. */
import { join, resolve } from "node:path";
import { EdgeConfig } from "../../control/contract/process-config.ts";
import { isListening } from "../../edge/replicate/owner-socket.ts";
import { type Server, startServer } from "../servers/child.ts";
import { startPostgres } from "../servers/postgres.ts";
import { startRedis } from "../servers/redis.ts";
import { startRegistry } from "../servers/registry.ts";
import { REGISTRY_BYTES_MAX, registryBytes } from "../servers/registry-bound.ts";
import type { Home } from "./home.ts";
import type { HomeRecord, Secrets } from "./home-record.ts";
import type { PortPlan } from "./ports.ts";
import { configFileOf, type ConfiguredPart, type Elsewhere, replicaArgv } from "./process-files.ts";

export const PART_NAMES = [
  "postgres",
  "redis",
  "registry",
  "control",
  "worker",
  "membership",
  "edge",
  "snapshots",
] as const;
export type PartName = (typeof PART_NAMES)[number];

export interface Part {
  readonly name: string;
  readonly logFile: string;
  /** True where the part should be started anew, because its start brings it back below its bound. */
  readonly outgrown?: () => boolean;
  /** Resolves once it answers. `onSpawn` hears of the process before that, so that a crash leaves no one unknown. */
  start(onSpawn: (pid: number) => void): Promise<Server>;
}

const ANSWER_WAIT_MS = 1_000;
/** The worker may boot a guest to find out what its VMM can do. */
const WORKER_READY_WAIT_MS = 120_000;

const repository = resolve(import.meta.dir, "../..");

/**
 * Variables that reach out to registries through a company's proxy, and the like; nothing of ours. Without the first a
 * part that a compiled `godwit` starts by its own path would be `godwit` again, and not Bun.
 */
const PASSED_ON = [
  "BUN_BE_BUN",
  "HOME",
  "TMPDIR",
  "HTTP_PROXY",
  "HTTPS_PROXY",
  "NO_PROXY",
  "http_proxy",
  "https_proxy",
  "no_proxy",
];

export interface StackPartsFacts {
  readonly home: Home;
  readonly record: HomeRecord;
  readonly ports: PortPlan;
  readonly secrets: Secrets;
  readonly elsewhere: Elsewhere;
}

export function stackParts({ home, record, ports, secrets, elsewhere }: StackPartsFacts): Part[] {
  const logFile = (name: PartName) => join(home.logs, `${name}.log`);
  const folder = (name: PartName) => join(home.folder, name);
  const env: Record<string, string> = {};
  for (const name of PASSED_ON) if (process.env[name] !== undefined) env[name] = process.env[name]!;
  const own = (
    name: PartName,
    main: string,
    options: () => readonly string[],
    ready: () => Promise<boolean>,
  ): Part => ({
    name,
    logFile: logFile(name),
    start: (onSpawn) =>
      startServer({
        name,
        argv: [process.execPath, join(repository, main), ...options()],
        cwd: repository,
        env,
        logFile: logFile(name),
        ready,
        onSpawn,
        ...(name === "worker" ? { readyWaitMs: WORKER_READY_WAIT_MS } : {}),
      }),
  });
  const parts: Part[] = [];
  if (elsewhere.databaseUrl === null) {
    parts.push({
      name: "postgres",
      logFile: logFile("postgres"),
      start: (onSpawn) =>
        startPostgres({
          folder: folder("postgres"),
          port: ports.postgres,
          password: secrets.postgres,
          logFile: logFile("postgres"),
          onSpawn,
        }),
    });
  }
  if (elsewhere.redisUrl === null) {
    parts.push({
      name: "redis",
      logFile: logFile("redis"),
      start: (onSpawn) =>
        startRedis({
          folder: folder("redis"),
          port: ports.redis,
          passwords: secrets.redis,
          workers: [{ hostId: record.host_id, region: record.region, password: secrets.redis.worker }],
          logFile: logFile("redis"),
          onSpawn,
        }),
    });
  }
  parts.push({
    name: "registry",
    logFile: logFile("registry"),
    outgrown: () => registryBytes(folder("registry")) > REGISTRY_BYTES_MAX,
    start: (onSpawn) =>
      startRegistry({
        folder: folder("registry"),
        port: ports.registry,
        password: secrets.registry,
        logFile: logFile("registry"),
        onSpawn,
      }),
  });
  const configured = (name: ConfiguredPart, main: string, ready: () => Promise<boolean>) =>
    own(name, main, () => ["--config", configFileOf(home, name)], ready);
  parts.push(
    configured("control", "control/main.ts", () => answers(`http://127.0.0.1:${ports.api}/healthz`)),
    configured(
      "worker",
      "control/worker/main.ts",
      () => answers("http://worker/v1/host", home.workerSocket),
    ),
    configured("membership", "control/membership/main.ts", () => isListening(home.membershipSocket)),
    configured("edge", "edge/main.ts", () => edgeAnswers(configFileOf(home, "edge"))),
    // Last, because nobody waits for it: it has its first snapshot within a minute.
    own(
      "snapshots",
      "edge/main.ts",
      () => replicaArgv({ home, record, secrets, ports, elsewhere }),
      () => answers("http://replica/healthz", home.snapshotsSocket),
    ),
  );
  return parts;
}

async function answers(url: string, unix?: string): Promise<boolean> {
  const answer = await fetch(url, {
    signal: AbortSignal.timeout(ANSWER_WAIT_MS),
    ...(unix === undefined ? {} : { unix }),
  }).catch(() => null); // not up yet; startServer keeps asking, with a limit
  return answer?.ok === true;
}

async function edgeAnswers(configFile: string): Promise<boolean> {
  const { admin } = EdgeConfig.parse(await Bun.file(configFile).json());
  return admin !== null && await answers(`http://${admin.address}:${admin.port}/healthz`);
}
