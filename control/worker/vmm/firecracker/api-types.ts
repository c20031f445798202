/**
 * What is said to Firecracker's API, as far as a machine needs it (v1.16.1, swagger "Firecracker API"). Each body is strict:
 * Firecracker refuses a field that it does not know, and api-types.test.ts holds every field here against its swagger.
 * Names are Firecracker's own; units stand in the comments where the name hides them.
 */
import { z } from "zod";

/** Versions whose API these types were checked against, or that only added to it. */
export const FIRECRACKER_VERSION_MIN = [1, 16, 1] as const;

const INT64_MAX = Number.MAX_SAFE_INTEGER;
/** Inside the jail. Firecracker has no bound of its own; sockaddr_un has the shortest. */
const JailPath = z.string().min(2).max(107).startsWith("/");
/** Firecracker: letters, digits and underscores. */
const ResourceId = z.string().regex(/^[A-Za-z0-9_]{1,64}$/);

/** `size` tokens (bytes or operations) come back within `refill_time` milliseconds. */
export const TokenBucket = z.strictObject({
  size: z.number().int().min(0).max(INT64_MAX),
  refill_time: z.number().int().min(0).max(INT64_MAX),
  one_time_burst: z.number().int().min(0).max(INT64_MAX).optional(),
});
export type TokenBucket = z.infer<typeof TokenBucket>;

export const RateLimiter = z.strictObject({ bandwidth: TokenBucket.optional(), ops: TokenBucket.optional() });
export type RateLimiter = z.infer<typeof RateLimiter>;

/** `log_path`: a named pipe or a file. */
export const Logger = z.strictObject({
  log_path: JailPath,
  level: z.enum(["Error", "Warning", "Info", "Debug", "Trace", "Off"]),
  show_level: z.boolean(),
  show_log_origin: z.boolean(),
});

export const Metrics = z.strictObject({ metrics_path: JailPath });

/** Without `serial_out_path` the guest's serial port is Firecracker's stdout. */
export const SerialDevice = z.strictObject({ rate_limiter: TokenBucket });

export const MachineConfiguration = z.strictObject({
  vcpu_count: z.number().int().min(1).max(32),
  mem_size_mib: z.number().int().min(1),
  smt: z.boolean(),
  track_dirty_pages: z.boolean(),
  huge_pages: z.enum(["None", "2M"]),
});

/** `kernel_image_path`: an uncompressed ELF on x86_64. */
export const BootSource = z.strictObject({
  kernel_image_path: JailPath,
  initrd_path: JailPath,
  boot_args: z.string().min(1).max(2_047),
});

/** The guest sees drives in the order in which they are put. */
export const Drive = z.strictObject({
  drive_id: ResourceId,
  path_on_host: JailPath,
  is_root_device: z.literal(false),
  is_read_only: z.boolean(),
  cache_type: z.enum(["Unsafe", "Writeback"]),
  io_engine: z.enum(["Sync", "Async"]),
  rate_limiter: RateLimiter.optional(),
});

export const NetworkInterface = z.strictObject({
  iface_id: ResourceId,
  /** A tap of the host. */
  host_dev_name: z.string().min(1).max(15),
  guest_mac: z.string().regex(/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i),
  mtu: z.number().int().min(68).max(65_535).optional(),
  rx_rate_limiter: RateLimiter.optional(),
  tx_rate_limiter: RateLimiter.optional(),
});

export const Vsock = z.strictObject({ guest_cid: z.number().int().min(3), uds_path: JailPath });

export const EntropyDevice = z.strictObject({ rate_limiter: RateLimiter.optional() });

export const Balloon = z.strictObject({
  amount_mib: z.number().int().min(0),
  deflate_on_oom: z.boolean(),
  stats_polling_interval_s: z.number().int().min(0).max(65_535),
  free_page_reporting: z.boolean(),
});

export const BalloonUpdate = z.strictObject({ amount_mib: z.number().int().min(0) });

export const InstanceActionInfo = z.strictObject({ action_type: z.enum(["InstanceStart", "FlushMetrics"]) });

export const Vm = z.strictObject({ state: z.enum(["Paused", "Resumed"]) });

export const SnapshotCreateParams = z.strictObject({
  snapshot_type: z.literal("Full"),
  snapshot_path: JailPath,
  mem_file_path: JailPath,
});

export const MemoryBackend = z.strictObject({ backend_type: z.literal("File"), backend_path: JailPath });

export const NetworkOverride = z.strictObject({
  iface_id: ResourceId,
  host_dev_name: z.string().min(1).max(15),
});

/** Only on a fresh process, before anything but logger, metrics and serial port was put. */
export const SnapshotLoadParams = z.strictObject({
  snapshot_path: JailPath,
  mem_backend: MemoryBackend,
  resume_vm: z.boolean(),
  track_dirty_pages: z.boolean(),
  network_overrides: z.array(NetworkOverride).max(1),
});

/** Answers. They may grow, so these are not strict. */
export const InstanceInfo = z.object({
  id: z.string(),
  state: z.enum(["Not started", "Running", "Paused"]),
  vmm_version: z.string(),
  app_name: z.string(),
});
export type InstanceInfo = z.infer<typeof InstanceInfo>;

/** Of GET /machine-config, after a restore too. */
export const MachineSize = z.object({ mem_size_mib: z.number().int().min(1) });

export const ApiError = z.object({ fault_message: z.string() });

interface Operation {
  readonly method: "PUT" | "PATCH";
  /** As in the swagger; `{…}` is a field of the body. */
  readonly path: string;
  /** The swagger's definition of the body. */
  readonly definition: string;
  readonly body: z.ZodType;
}

/** Every request with a body that is ever sent. */
export const OPERATIONS = {
  logger: { method: "PUT", path: "/logger", definition: "Logger", body: Logger },
  metrics: { method: "PUT", path: "/metrics", definition: "Metrics", body: Metrics },
  serial: { method: "PUT", path: "/serial", definition: "SerialDevice", body: SerialDevice },
  machineConfig: {
    method: "PUT",
    path: "/machine-config",
    definition: "MachineConfiguration",
    body: MachineConfiguration,
  },
  bootSource: { method: "PUT", path: "/boot-source", definition: "BootSource", body: BootSource },
  drive: { method: "PUT", path: "/drives/{drive_id}", definition: "Drive", body: Drive },
  networkInterface: {
    method: "PUT",
    path: "/network-interfaces/{iface_id}",
    definition: "NetworkInterface",
    body: NetworkInterface,
  },
  vsock: { method: "PUT", path: "/vsock", definition: "Vsock", body: Vsock },
  entropy: { method: "PUT", path: "/entropy", definition: "EntropyDevice", body: EntropyDevice },
  balloon: { method: "PUT", path: "/balloon", definition: "Balloon", body: Balloon },
  balloonUpdate: { method: "PATCH", path: "/balloon", definition: "BalloonUpdate", body: BalloonUpdate },
  action: { method: "PUT", path: "/actions", definition: "InstanceActionInfo", body: InstanceActionInfo },
  vm: { method: "PATCH", path: "/vm", definition: "Vm", body: Vm },
  snapshotCreate: {
    method: "PUT",
    path: "/snapshot/create",
    definition: "SnapshotCreateParams",
    body: SnapshotCreateParams,
  },
  snapshotLoad: {
    method: "PUT",
    path: "/snapshot/load",
    definition: "SnapshotLoadParams",
    body: SnapshotLoadParams,
  },
} as const satisfies Record<string, Operation>;

export type OperationName = keyof typeof OPERATIONS;
export type BodyOf<N extends OperationName> = z.input<(typeof OPERATIONS)[N]["body"]>;

export interface ApiRequest {
  readonly method: "PUT" | "PATCH";
  readonly path: string;
  /** The swagger's definition of the body. */
  readonly definition: string;
  readonly body: Readonly<Record<string, unknown>>;
}

/** Parsed on the way out: a body that breaks its type is a bug of ours, met before Firecracker meets it. */
export function apiRequest<N extends OperationName>(name: N, body: BodyOf<N>): ApiRequest {
  const operation = OPERATIONS[name];
  const parsed = operation.body.parse(body) as Record<string, unknown>;
  const path = operation.path.replace(/\{(\w+)\}/, (_, field: string) => String(parsed[field]));
  return { method: operation.method, path, definition: operation.definition, body: parsed };
}
