/**
 * The run configuration: all that vm-init must know to boot one machine. The worker writes it, NUL-padded, to a private
 * read-only drive (QEMU: /dev/vdd) or a private file (runc: RUN_CONFIG_FILE); nothing of it is ever on a command line.
 * vm-init is written against these types and trusts the worker to have validated; it checks `schema` itself.
 */
import { z } from "zod";
import { AppName, Env, MachineId, RegionCode } from "./names.ts";
import {
  Command,
  FileMode,
  FILES_MAX,
  GuestPath,
  PROCESSES_MAX,
  Rlimit,
  RLIMIT_NAMES,
  SWAP_MB_MAX,
  Sysctls,
} from "./machine.ts";
import { RUN_CONFIG_SCHEMA, VOLUMES_MAX } from "./guest-limits.ts";

export {
  CONTAINER_FOLDER,
  CONTROL_PORT_NAME,
  CONTROL_SOCKET,
  CONTROL_VSOCK_PORT,
  DRIVES,
  RUN_CONFIG_BYTES_MAX,
  RUN_CONFIG_FILE,
  RUN_CONFIG_SCHEMA,
  volumeDrive,
  VOLUMES_MAX,
} from "./guest-limits.ts";

/** The `config` object of an OCI image (image-spec v1.1, config.md), as far as a process needs it. */
export const ImageConfig = z.object({
  entrypoint: z.array(z.string()).default([]),
  cmd: z.array(z.string()).default([]),
  /** `NAME=value` each. */
  env: z.array(z.string()).default([]),
  working_dir: z.string().default(""),
  /** `user`, `uid`, `user:group`, `uid:gid`, … or empty for root. */
  user: z.string().default(""),
  stop_signal: z.string().nullable().default(null),
});
export type ImageConfig = z.infer<typeof ImageConfig>;

/** One of several user processes; what is null is as the image says. The machine ends when one of them ends. */
export const RunProcess = z.object({
  /** Runs as it stands, instead of entrypoint and command. */
  exec: Command.nullable(),
  entrypoint: Command.nullable(),
  command: Command.nullable(),
  /** On top of the run configuration's. */
  env: Env,
  user: z.string().max(256).nullable(),
});
export type RunProcess = z.infer<typeof RunProcess>;

export const RunConfig = z.object({
  schema: z.literal(RUN_CONFIG_SCHEMA),
  /** `vm`: vm-init is PID 1 of a VM and builds the root. `container`: a driver has built the root. */
  mode: z.enum(["vm", "container"]),
  machine_id: MachineId,
  app_name: AppName,
  region: RegionCode,
  hostname: z.string().max(63),
  image: ImageConfig,
  /** Replaces the image's Entrypoint; then the image's Cmd is dropped, as `docker run --entrypoint` does. */
  entrypoint: Command.nullable(),
  /** Replaces the image's Cmd. */
  command: Command.nullable(),
  /** On top of the image's env. The FLY_-named variables of the reference are in here, put by the worker. */
  env: Env,
  /** Milliseconds since 1970 by the host's clock when this was written; vm-init reports the guest's distance. */
  host_clock_ms: z.number().int(),
  network: z.object({
    interface: z.string().max(15),
    mtu: z.number().int().min(1_280).max(65_535),
    /** With prefix length, `172.30.0.3/31`. */
    address4: z.string().nullable(),
    gateway4: z.string().nullable(),
    address6: z.string().nullable(),
    gateway6: z.string().nullable(),
    nameservers: z.array(z.string()).max(3),
    searches: z.array(z.string()).max(6),
    /** Of resolv.conf(5), `ndots:2`. */
    options: z.array(z.string().max(32)).max(16).optional(),
  }).nullable(),
  /** The organisation's private network, where it comes on an interface of its own. */
  private_network: z.object({
    interface: z.string().max(15),
    mtu: z.number().int().min(1_280).max(65_535),
    /** With the prefix that is reached over it. */
    address6: z.string(),
  }).optional(),
  /** More lines of /etc/hosts, beside localhost and the machine's own. */
  hosts: z.array(z.object({ address: z.string(), names: z.array(z.string()).min(1) })).max(256),
  /** Signal and patience of a stop that comes from inside (ctrl-alt-del, the control API's default). */
  stop: z.object({ signal: z.string(), timeout_s: z.number().int().min(0) }),
  limits: z.object({
    nofile: z.number().int().min(1_024),
    /** More limits of setrlimit(2) for the user's processes. */
    rlimits: z.array(Rlimit).max(RLIMIT_NAMES.length).optional(),
  }),
  /** None: one process, by `entrypoint` and `command`. */
  processes: z.array(RunProcess).max(PROCESSES_MAX).optional(),
  /** Written into the root before anything runs, root's own; secrets are resolved already. */
  files: z.array(z.object({ path: GuestPath, base64: z.base64(), mode: FileMode })).max(FILES_MAX).optional(),
  /** A swap file of this size on the machine's own layer. */
  swap_mb: z.number().int().min(1).max(SWAP_MB_MAX).optional(),
  /** All that the kernel takes; in a container, those of its namespaces. */
  sysctls: Sysctls.optional(),
  /** Of /dev/shm. @default half of the memory, as the kernel gives it */
  shm_mb: z.number().int().min(1).optional(),
  /** ext4 on the drives from `vde` on, in this order. */
  volumes: z.array(z.object({ path: GuestPath, read_only: z.boolean() })).max(VOLUMES_MAX).optional(),
  /** How the user's process hears that its machine was resumed: a signal to each, or a program run as its user. */
  resume_hook: z.union([
    z.object({ signal: z.string().max(16) }),
    z.object({ exec: Command }),
  ]).optional(),
});
export type RunConfig = z.infer<typeof RunConfig>;
