/**
 * The control API that vm-init serves to its worker: HTTP/2 (prior knowledge, no TLS) over one byte stream — a
 * virtio-serial port on QEMU, vsock on Firecracker, a unix socket on runc. The worker is the client. Both sides bound
 * everything: a guest is not trusted, so the worker caps each body at GUEST_BODY_BYTES_MAX and parses with these schemas.
 *
 *   GET  /v1/status           GuestStatus; `?wait_ms=N` answers early when the phase is `running`, `failed` or `exited`
 *   GET  /v1/exit[?run=N]     GuestExit once run N (or a later one) of the user's process has ended; a long poll without a
 *                             limit of its own. The first run is 0
 *   POST /v1/stop             StopRequest → 202; signal, then SIGKILL after the timeout, then flush and power off
 *   POST /v1/signals          SignalRequest → 204
 *   GET  /v1/logs?from=SEQ    NDJSON of GuestLogLine from a bounded buffer (LOG_BUFFER_BYTES), then live; a gap in `seq`
 *                             is loss, and is announced by a `lost` line
 *   GET  /v1/listeners        GuestListeners: sockets that listen inside
 *   POST /v1/exit-ack         the worker has the exit durably; vm-init powers off at once instead of after
 *                             EXIT_ACK_WAIT_MS
 *   POST /v1/restart          RestartRequest → 202; instead of the exit-ack: the user's process is run again in the same
 *                             guest. 202 also where that run was followed by another already; 409 where it still goes
 *                             on. `/v1/logs` ends with each run and can be asked for again with the next
 *   POST /v1/resumed          ResumedRequest → ResumedAnswer; the VM's memory was taken up again after a suspend
 */
import { z } from "zod";
import {
  GUEST_API_SCHEMA,
  LOG_LINE_BYTES_MAX,
  RESTART_WAIT_MS_MAX,
  RESUME_ENTROPY_CHARS_MAX,
} from "./guest-limits.ts";

export {
  BOOT_FAILURE_MARK,
  EXIT_ACK_WAIT_MS,
  GUEST_API_SCHEMA,
  GUEST_BODY_BYTES_MAX,
  LOG_BUFFER_BYTES,
  LOG_LINE_BYTES_MAX,
  RESTART_WAIT_MS_MAX,
  RESUME_ENTROPY_CHARS_MAX,
} from "./guest-limits.ts";

/** The boot's steps, in order (DESIGN section 8). A step that does not apply to a mode is skipped and says so. */
export const BootStep = z.enum([
  "run-config",
  "mounts",
  "overlay-root",
  "switch-root",
  "swap",
  "volumes",
  "files",
  "network",
  "hostname",
  "user",
  "limits",
  "control-api",
  "spawn",
  "supervise",
]);
export type BootStep = z.infer<typeof BootStep>;

export const GuestExit = z.object({
  exit_code: z.number().int().min(0).max(255),
  signal: z.string().max(16).nullable(),
  oom_killed: z.boolean(),
  /** Whose memory had run out: the app's own share, or the whole machine's (which its host may have taken back). */
  oom_scope: z.enum(["app", "machine"]).nullable().optional(),
  at_ms: z.number().int(),
  /** How many runs of the user's process this guest had before this one. */
  run: z.number().int().min(0).optional(),
});
export type GuestExit = z.infer<typeof GuestExit>;

export const GuestStatus = z.object({
  schema: z.literal(GUEST_API_SCHEMA),
  /** `restarting`: between two runs of the user's process. */
  phase: z.enum(["booting", "running", "stopping", "exited", "restarting", "failed"]),
  /** Of the user's process, once spawned; of several, the first one's. */
  pid: z.number().int().nullable(),
  /** Restarts of the user's process since the boot: the number of the run that goes on, is to come or was the last. */
  run: z.number().int().min(0).optional(),
  /** Duration of each finished step. */
  steps: z.array(z.object({ step: BootStep, ms: z.number(), skipped: z.string().max(200).nullable() })).max(
    32,
  ),
  /** The step that failed, its operands and the reason in words. */
  failure: z.object({ step: BootStep, message: z.string().max(2_048) }).nullable(),
  exit: GuestExit.nullable(),
  uptime_s: z.number(),
  clock_ms: z.number().int(),
  memory_available_mb: z.number().nullable(),
  /** vm-init's own resident and anonymous memory (VmRSS, RssAnon of /proc/self/status). */
  init_rss_kb: z.number().int(),
  init_rss_anon_kb: z.number().int(),
});
export type GuestStatus = z.infer<typeof GuestStatus>;

export const StopRequest = z.object({
  signal: z.string().max(16),
  timeout_s: z.number().int().min(0).max(300),
});
export const SignalRequest = z.object({ signal: z.string().max(16) });

export const RestartRequest = z.object({
  /** The run that ended (`GuestExit.run`). */
  run: z.number().int().min(0),
  /** The wait before the next one. */
  after_ms: z.number().int().min(0).max(RESTART_WAIT_MS_MAX),
});
export type RestartRequest = z.infer<typeof RestartRequest>;

export const ResumedRequest = z.object({
  /** Milliseconds since 1970 by the host's clock. */
  host_clock_ms: z.number().int().min(0),
  /** Base64 of random bytes, for the kernel's pool: what was saved must not give two machines the same random numbers. */
  entropy: z.base64().min(1).max(RESUME_ENTROPY_CHARS_MAX),
});
export type ResumedRequest = z.infer<typeof ResumedRequest>;
export const ResumedAnswer = z.object({
  /** By how much the guest's clock was stepped forward (or back); 0 for a container, whose clock is its host's. */
  clock_step_ms: z.number().int(),
});
export type ResumedAnswer = z.infer<typeof ResumedAnswer>;

export const GuestLogLine = z.object({
  seq: z.number().int().min(0),
  stream: z.enum(["stdout", "stderr", "system", "lost"]),
  at_ms: z.number().int(),
  /** For `lost`: how many lines. Longer lines are cut at LOG_LINE_BYTES_MAX. */
  line: z.string().max(LOG_LINE_BYTES_MAX),
});
export type GuestLogLine = z.infer<typeof GuestLogLine>;

export const GuestListeners = z.object({
  listeners: z.array(z.object({
    address: z.string().max(45),
    port: z.number().int(),
    pid: z.number().int().nullable(),
    command: z.string().max(256).nullable(),
  })).max(256),
});
export type GuestListeners = z.infer<typeof GuestListeners>;
