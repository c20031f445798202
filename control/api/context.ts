/** What the API's handlers work with: things of the process, and of one request. */
import type { Redis } from "ioredis";
import type { Logger } from "pino";
import type { KeyPair } from "../access/key-file.ts";
import type { Principal } from "../access/token.ts";
import type { ControlConfig } from "../contract/process-config.ts";
import type { WorkerClient } from "../place/worker-client.ts";
import type { LogRedis } from "../publish/redis.ts";
import type { Store } from "../store/database.ts";
import type { Host } from "../store/hosts.ts";
import type { MachineViews } from "./machine-views.ts";
import type { Metrics } from "./metrics.ts";

export interface ApiParts {
  readonly config: Pick<
    ControlConfig,
    "node_token" | "hostname_suffix" | "app_url_template"
  >;
  readonly store: Store;
  readonly redis: LogRedis;
  /** A connection of its own for a reader that blocks on the stream. */
  readonly newRedisReader: (stream: string) => Redis;
  readonly keys: KeyPair;
  readonly clientOf: (host: Host) => WorkerClient;
  /** Tells the release runner of this process that there is work. */
  readonly wakeRunner: () => void;
  readonly metrics: Metrics;
  readonly log: Logger;
}

export interface RequestContext {
  readonly parts: ApiParts;
  readonly principal: Principal;
  readonly machineViews: MachineViews;
}
