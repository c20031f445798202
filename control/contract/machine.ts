/** What a machine is asked to be, and what it is. Shared by the API, the workers and, in part, the edges. */
import { z } from "zod";
import { AppName, Digest, Env, EnvName, HostId, MachineId, Port, RegionCode, RowId } from "./names.ts";

/** The states of the reference, section 2.1. Persistent, transient, terminal. */
export const MachineState = z.enum([
  "created",
  "starting",
  "started",
  "stopping",
  "stopped",
  "suspending",
  "suspended",
  "destroying",
  "destroyed",
  "failed",
]);
export type MachineState = z.infer<typeof MachineState>;

export const CPU_COUNTS = [1, 2, 4, 8, 16] as const;
export const MEMORY_MB_STEP = 256;
export const MEMORY_MB_MAX = 65_536;

/** Size of the VM. Memory comes in steps of 256 MB, as in the reference, section 2.3. */
export const Guest = z.object({
  cpu_kind: z.enum(["shared", "performance"]).default("shared"),
  cpus: z.literal([...CPU_COUNTS]).default(1),
  memory_mb: z.number().int().min(MEMORY_MB_STEP).max(MEMORY_MB_MAX).multipleOf(MEMORY_MB_STEP).default(256),
});
export type Guest = z.infer<typeof Guest>;

export const FRAMING_FIELDS: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);
/** HTTP field names as the edge writes them; framing and routing fields are the edge's own (RFC 9110 section 5.1). */
const FieldName = z.string().min(1).max(128).regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/).refine(
  (name) => !FRAMING_FIELDS.has(name.toLowerCase()),
  "the edge alone says where a message ends and what its connection does next",
);
const FieldValue = z.string().max(8_192).regex(
  /^[\t\x20-\x7e\x80-\xff]*$/,
  "a header value has no line ends",
);

/** Who may use a service: requests need a bearer token (RFC 7519) that one of these keys signed. */
export const HttpAccess = z.object({
  issuer: z.string().min(1).max(512),
  /** A token must name one of them; empty: any. */
  audience: z.array(z.string().max(512)).max(16).default([]),
  /** All are needed in the token's `scope` (RFC 8693 section 4.2). */
  scopes: z.array(
    z.string().max(128).regex(/^[\x21\x23-\x5b\x5d-\x7e]+$/, "a scope has no spaces and quotes"),
  )
    .max(32).default([]),
  /** Where the keys are read (RFC 7517), or the keys themselves: exactly one. */
  jwks_url: z.url().max(2_048).optional(),
  jwks: z.object({ keys: z.array(z.record(z.string(), z.unknown())).min(1).max(32) }).optional(),
  clock_skew_s: z.number().int().min(0).max(300).default(60),
}).refine((access) => (access.jwks_url === undefined) !== (access.jwks === undefined), {
  message: "access needs exactly one of jwks_url and jwks",
});
export type HttpAccess = z.infer<typeof HttpAccess>;

/** The reference's `http_options`, section 1.2, and what Godwit adds: `body_bytes_max`, `rate_limit`, `access`. */
export const HttpOptions = z.object({
  compress: z.boolean().optional(),
  /** Speak HTTP/2 with prior knowledge to the machine: gRPC needs it. */
  h2_backend: z.boolean().optional(),
  /** Seconds. */
  idle_timeout: z.number().int().min(1).max(86_400).optional(),
  /** Seconds. */
  headers_read_timeout: z.number().int().min(1).max(300).optional(),
  response: z.object({
    /** No Server, Via, Fly-Request-Id, Fly-Cache-Status. */
    pristine: z.boolean().optional(),
    /** Sets a field, to several values too; `false` removes it. */
    headers: z.record(FieldName, z.union([FieldValue, z.array(FieldValue).max(16), z.literal(false)]))
      .refine((headers) => Object.keys(headers).length <= 64, "at most 64 response headers").optional(),
  }).optional(),
  body_bytes_max: z.number().int().min(0).optional(),
  /** Token bucket for each client address: `requests` in `per_s` seconds, `burst` at once. */
  rate_limit: z.object({
    requests: z.number().int().min(1).max(1_000_000),
    per_s: z.number().int().min(1).max(86_400).default(1),
    burst: z.number().int().min(1).max(1_000_000).optional(),
  }).optional(),
  access: HttpAccess.optional(),
});
export type HttpOptions = z.infer<typeof HttpOptions>;

export const ServicePort = z.object({
  port: Port,
  /** None: raw TCP. `pg_tls` and port ranges have their place here when they come. */
  handlers: z.array(z.enum(["http", "tls", "proxy_proto"])).max(4).default(["http"]),
  force_https: z.boolean().default(false),
  http_options: HttpOptions.optional(),
  tls_options: z.object({
    /** Protocol names to offer, in order of preference (RFC 7301). */
    alpn: z.array(z.string().min(1).max(255)).max(8).optional(),
    versions: z.array(z.enum(["TLSv1.2", "TLSv1.3"])).min(1).max(2).optional(),
    default_self_signed: z.boolean().optional(),
  }).optional(),
  /** What the machine gets before the first byte where `handlers` has `proxy_proto`. */
  proxy_proto_options: z.object({ version: z.enum(["v1", "v2"]).default("v1") }).optional(),
});
export type ServicePort = z.infer<typeof ServicePort>;
export const Service = z.object({
  /** `udp` has its place here when it comes. */
  protocol: z.literal("tcp").default("tcp"),
  internal_port: Port,
  ports: z.array(ServicePort).min(1).max(32),
  concurrency: z.object({
    type: z.enum(["connections", "requests"]),
    soft_limit: z.number().int().min(1).max(1_000_000),
    hard_limit: z.number().int().min(1).max(1_000_000).nullable(),
  }).default({ type: "connections", soft_limit: 20, hard_limit: null }),
  /** The reference's section 1.4: start or resume on demand, stop or suspend when idle. */
  auto_start_machines: z.boolean().optional(),
  auto_stop_machines: z.enum(["off", "stop", "suspend"]).optional(),
  /** In the app's primary region. */
  min_machines_running: z.number().int().min(0).max(1_000).optional(),
});
export type Service = z.infer<typeof Service>;
export const Services = z.array(Service).max(20);

const SignalName = z.string().regex(/^SIG[A-Z0-9+]{2,12}$/);

/** Arguments of the user's process; null means what the image says. */
export const Command = z.array(z.string().max(65_536)).min(1).max(1_024);

/** Of a file or folder inside a machine. */
export const GuestPath = z.string().min(2).max(4_096).regex(
  /^\/[^\0]*[^\0/]$/,
  "a path inside a machine is absolute, not / itself, and ends without /",
).refine((path) => !path.split("/").includes(".."), "a path inside a machine has no ..");
/** Permission bits, as a number: 0o644. */
export const FileMode = z.number().int().min(0).max(0o7777).default(0o644);
export const FILES_MAX = 64;
/** They travel to the guest inside its run configuration (RUN_CONFIG_BYTES_MAX), of which this is half. */
export const FILES_CHARS_MAX = 524_288;
/** The reference's `files[]`, section 2.3. */
export const MachineFile = z.union([
  /** Base64. */
  z.object({ guest_path: GuestPath, raw_value: z.base64().max(FILES_CHARS_MAX), mode: FileMode }),
  /** The secret's value is the base64 of the content. Until secrets come from elsewhere they are looked up in `env`. */
  z.object({ guest_path: GuestPath, secret_name: EnvName, mode: FileMode }),
]);
export type MachineFile = z.infer<typeof MachineFile>;

export const PROCESSES_MAX = 16;
/** The reference's `processes[]`: the machine stops when one of them ends. */
export const MachineProcess = z.object({
  exec: Command.nullable().default(null),
  entrypoint: Command.nullable().default(null),
  cmd: Command.nullable().default(null),
  env: Env.default({}),
  user: z.string().max(256).nullable().default(null),
});
export type MachineProcess = z.infer<typeof MachineProcess>;

export const SWAP_MB_MAX = 65_536;
/** As sysctl(8) names them, `net.core.somaxconn`. */
export const Sysctls = z.record(
  z.string().max(256).regex(/^[a-z0-9_]+(?:[./][A-Za-z0-9_*-]+)+$/, "a sysctl's name is words and dots"),
  z.string().max(1_024).regex(/^[^\0\n]*$/, "a sysctl's value is one line"),
).refine((sysctls) => Object.keys(sysctls).length <= 64, "at most 64 sysctls");
/**
 * Those of setrlimit(2) that can be set for a moment by the one that starts the process. Address space, data and
 * processor time cannot: vm-init itself would meet them.
 */
export const RLIMIT_NAMES = [
  "core",
  "fsize",
  "memlock",
  "msgqueue",
  "nice",
  "nofile",
  "nproc",
  "rtprio",
  "sigpending",
  "stack",
] as const;
const RlimitValue = z.union([z.number().int().min(0).max(Number.MAX_SAFE_INTEGER), z.literal("unlimited")]);
export const Rlimit = z.object({ name: z.enum(RLIMIT_NAMES), soft: RlimitValue, hard: RlimitValue });
export type Rlimit = z.infer<typeof Rlimit>;

/** The reference, section 2.4. */
export const RESTARTS_MAX_DEFAULT = 10;
export const Restart = z.object({
  policy: z.enum(["no", "always", "on-failure"]).default("on-failure"),
  /** For `on-failure`: so many within five minutes, then the machine stays stopped. */
  max_retries: z.number().int().min(0).max(1_000).default(RESTARTS_MAX_DEFAULT),
});
export type Restart = z.infer<typeof Restart>;

export const STOP_TIMEOUT_S_DEFAULT = 5;
export const STOP_TIMEOUT_S_MAX = 300;

/** The whole wish for one machine, as the API hands it to a worker. `env` goes no further than the worker. */
export const MachineSpec = z.object({
  schema: z.literal(1),
  id: MachineId,
  org_id: RowId,
  app_id: RowId,
  app_name: AppName,
  release_id: RowId,
  region: RegionCode,
  image: z.object({ ref: z.string().max(512), digest: Digest }),
  guest: Guest,
  env: Env,
  entrypoint: Command.nullable().default(null),
  command: Command.nullable().default(null),
  services: Services,
  stop: z.object({
    /** null: the image's StopSignal, else SIGINT as in the reference, section 2.2. */
    signal: SignalName.nullable().default(null),
    timeout_s: z.number().int().min(0).max(STOP_TIMEOUT_S_MAX).default(STOP_TIMEOUT_S_DEFAULT),
  }).default({ signal: null, timeout_s: STOP_TIMEOUT_S_DEFAULT }),
  restart: Restart.default({ policy: "on-failure", max_retries: RESTARTS_MAX_DEFAULT }),
  /** None: one process, by `entrypoint` and `command`. */
  processes: z.array(MachineProcess).max(PROCESSES_MAX).default([]),
  files: z.array(MachineFile).max(FILES_MAX).refine(
    (files) => JSON.stringify(files).length <= FILES_CHARS_MAX,
    `at most ${FILES_CHARS_MAX} characters together`,
  ).default([]),
  /** A swap file on the layer. */
  swap_size_mb: z.number().int().min(1).max(SWAP_MB_MAX).nullable().default(null),
  /** Of /dev/shm; null: half of the memory. */
  shm_size_mb: z.number().int().min(1).max(MEMORY_MB_MAX).nullable().default(null),
  sysctls: Sysctls.default({}),
  rlimits: z.array(Rlimit).max(RLIMIT_NAMES.length).default([]),
  /** How the user's process hears of a resume: a signal, or a program run as its user. */
  resume_hook: z.union([z.object({ signal: SignalName }), z.object({ exec: Command })]).nullable().default(
    null,
  ),
  /** Size of the machine's own writable layer; sparse. */
  layer_mb: z.number().int().min(64).max(1_048_576).default(8_192),
  /** Names an offer that this machine takes up (`OfferAnswer.id`). */
  offer_id: z.string().max(64).nullable().default(null),
});
export type MachineSpec = z.infer<typeof MachineSpec>;

/** What a deploy may say of how its machines run, beside their size, env, command and services. */
export const MachineSettings = MachineSpec.pick({
  stop: true,
  restart: true,
  processes: true,
  files: true,
  swap_size_mb: true,
  shm_size_mb: true,
  sysctls: true,
  rlimits: true,
  resume_hook: true,
}).strict();
export type MachineSettings = z.infer<typeof MachineSettings>;

/** How the user's process, and with it the VM, ended. */
export const MachineExit = z.object({
  /** 0 to 255; 128 + signal number where a signal ended it; null where the VM died without a word. */
  exit_code: z.number().int().min(0).max(255).nullable(),
  signal: z.string().max(16).nullable(),
  /** The guest's kernel killed it for memory. */
  oom_killed: z.boolean(),
  /** Where it was not the app's own share of memory that had run out. */
  oom_scope: z.literal("machine").optional(),
  /** True where Godwit asked for the end (stop, destroy). */
  requested: z.boolean(),
  /** The restart policy has the process run again. */
  restarting: z.boolean().optional(),
  /** A step of the boot failed, or the VMM did: which, on what, why. */
  reason: z.string().max(2_048).nullable(),
  at_ms: z.number().int(),
});
export type MachineExit = z.infer<typeof MachineExit>;

/** Of a machine's past its worker keeps so many events. */
export const LIFE_EVENTS_MAX = 50;
/** What happened to a machine, as the reference's `events` tell it. Nothing is updated in place: a release replaces machines. */
export const LifeEvent = z.object({
  /** Counts up on its host. */
  id: z.number().int(),
  at_ms: z.number().int(),
  /**
   * `start`, `resume`, `restart` (by its policy, or after its host was away), `stop`, `suspend` and `destroy` are told as
   * they begin and as they end; `launch` when the machine is made; `exit` when its process or its VM has ended.
   */
  type: z.enum(["launch", "start", "resume", "restart", "suspend", "stop", "exit", "destroy"]),
  /** The machine's from then on. */
  status: MachineState,
  /** Who began it: somebody by the API, an edge (a request that needed it, or idleness), or the worker itself. */
  source: z.enum(["api", "edge", "worker"]),
  /** Of an `exit`, and of a start that failed. */
  exit: MachineExit.nullable(),
  /** Why it did not come to what was asked. */
  reason: z.string().nullable(),
});
export type LifeEvent = z.infer<typeof LifeEvent>;

/** A machine as its worker, the only truth about it, shows it. Holds no env. */
export const MachineView = z.object({
  id: MachineId,
  app_id: RowId,
  app_name: AppName,
  org_id: RowId,
  release_id: RowId,
  host_id: HostId,
  region: RegionCode,
  state: MachineState,
  image: z.object({ ref: z.string(), digest: Digest }),
  guest: Guest,
  services: Services,
  address4: z.string().nullable(),
  address6: z.string().nullable(),
  cordoned: z.boolean(),
  vmm: z.enum(["qemu", "runc", "firecracker"]),
  last_exit: MachineExit.nullable(),
  /** How often the restart policy had the process run again since the machine was last started by request. */
  restarts: z.number().int().min(0).optional(),
  /** Why the state is `failed`, or why the last operation did not reach its goal. */
  reason: z.string().nullable(),
  created_at_ms: z.number().int(),
  updated_at_ms: z.number().int(),
  /** When the user's process was spawned in the run that goes on now. */
  started_at_ms: z.number().int().nullable(),
  /** Newest first; where one machine is asked for, not in lists and answers to requests. */
  events: z.array(LifeEvent).max(LIFE_EVENTS_MAX).optional(),
});
export type MachineView = z.infer<typeof MachineView>;
