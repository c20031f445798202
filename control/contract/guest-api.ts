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
 *   GET  /v1/sysinfo          GuestSysinfo
 *   GET  /v1/ps               GuestProcesses
 *   GET  /v1/metrics          GuestMetrics
 *   POST /v1/exec             frames of exec-frames.ts both ways: the first one opens with ExecRequest, the last one tells
 *                             ExecExit; the command is killed when the stream breaks off before
 *   POST /v1/read             frames as for exec, opened with ReadRequest: the bytes of a file as `stdout`; its FileEntry
 *                             in the field `godwit-file`
 *   PUT  /v1/files?path=P[&mode=OCTAL][&replace=1]
 *                             the body, frames `stdin` and at last `stdinEnd`, becomes the file in one step; → FileEntry
 *   POST /v1/list             frames as for exec, opened with ListRequest: NDJSON of FileEntry as `stdout`; the path itself
 *                             (depth 0), and what lies in it down to that depth
 *   POST /v1/freeze           FreezeRequest → FreezeAnswer: writes of the machine wait until `thaw` or the timeout
 *   POST /v1/thaw             ThawAnswer
 *
 * Failures of the latter ones are `{"error": WireError}` with a code that begins with `guest.`.
 */
import { z } from "zod";
import {
  EXEC_OUTPUT_BYTES_MAX,
  EXEC_TEXT_CHARS_MAX,
  EXEC_TIMEOUT_MS_MAX,
  EXEC_WORDS_MAX,
  FILE_BYTES_MAX,
  FREEZE_TIMEOUT_S_MAX,
  GUEST_API_SCHEMA,
  LIST_DEPTH_MAX,
  LOG_LINE_BYTES_MAX,
  PATH_BYTES_MAX,
  PROCESSES_MAX,
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

/** Characters and lines, as `stty size` tells them the other way round. */
export const TerminalSize = z.object({
  columns: z.number().int().min(1).max(10_000),
  rows: z.number().int().min(1).max(10_000),
});
export type TerminalSize = z.infer<typeof TerminalSize>;

/** The kernel ends a word at a NUL. */
const Word = z.string().max(EXEC_TEXT_CHARS_MAX).refine(
  (word) => !word.includes("\0"),
  "it holds a NUL byte",
);

export const ExecRequest = z.object({
  /** Program and arguments; found in PATH. With `shell`, or with neither, null. */
  argv: z.array(Word).min(1).max(EXEC_WORDS_MAX).nullable().default(null),
  /** For `/bin/sh -c`. With neither `argv` nor this the image's shell runs, as at a log-in. */
  shell: Word.min(1).nullable().default(null),
  /** On top of the app's own. */
  env: z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,255}$/), Word)
    .refine((env) => Object.keys(env).length <= EXEC_WORDS_MAX, `at most ${EXEC_WORDS_MAX} variables`)
    .default({}),
  /** @default the app's own working folder */
  cwd: Word.max(PATH_BYTES_MAX).regex(/^\//, "a path begins with /").nullable().default(null),
  /** As the image's User: `user`, `uid`, `user:group`, … @default the app's own */
  user: Word.min(1).max(256).nullable().default(null),
  /** A terminal of this size; stdout and stderr are one then. null: pipes. */
  terminal: TerminalSize.nullable().default(null),
  /** false: /dev/null. */
  stdin: z.boolean().default(false),
  /** The command is killed after this. */
  timeout_ms: z.number().int().min(1).max(EXEC_TIMEOUT_MS_MAX).nullable().default(null),
  /** Of stdout and of stderr each, what is above it is read and lost. */
  output_bytes_max: z.number().int().min(0).max(EXEC_OUTPUT_BYTES_MAX).nullable().default(null),
}).refine((request) => request.argv === null || request.shell === null, {
  message: "a command has argv or shell, not both",
});
export type ExecRequest = z.infer<typeof ExecRequest>;

export const ExecExit = z.object({
  /** 128 + the signal's number where one ended it. */
  exit_code: z.number().int().min(0).max(255),
  signal: z.string().max(16).nullable(),
  timed_out: z.boolean(),
  /** Bytes above `output_bytes_max`. */
  stdout_lost_bytes: z.number().int().min(0),
  stderr_lost_bytes: z.number().int().min(0),
});
export type ExecExit = z.infer<typeof ExecExit>;

export const GuestSysinfo = z.object({
  hostname: z.string().max(64),
  kernel: z.string().max(128),
  architecture: z.string().max(32),
  /** PRETTY_NAME of the image's os-release. */
  system: z.string().max(128).nullable(),
  cpus: z.number().int().min(1),
  memory_mb: z.number().int().min(0),
  uptime_s: z.number().min(0),
  clock_ms: z.number().int(),
  boot_id: z.string().max(64).nullable(),
  disk: z.object({ total_bytes: z.number().min(0), free_bytes: z.number().min(0) }).nullable(),
  interfaces: z.array(z.object({
    name: z.string().max(16),
    addresses: z.array(z.string().max(64)).max(16),
  })).max(16),
});
export type GuestSysinfo = z.infer<typeof GuestSysinfo>;

const Socket = z.object({ protocol: z.literal("tcp"), address: z.string().max(45), port: z.number().int() });

export const GuestProcess = z.object({
  pid: z.number().int(),
  ppid: z.number().int(),
  /** The name in the image's /etc/passwd, else the number. */
  user: z.string().max(64),
  /** A letter of proc(5). */
  state: z.string().max(1),
  command: z.string().max(256),
  cpu_ms: z.number().int().min(0),
  rss_kb: z.number().int().min(0),
  /** Since the kernel's start. */
  started_s: z.number().min(0),
  listen_sockets: z.array(Socket).max(64),
});
export type GuestProcess = z.infer<typeof GuestProcess>;

export const GuestProcesses = z.object({
  processes: z.array(GuestProcess).max(PROCESSES_MAX),
  /** How many more there are. */
  left_out: z.number().int().min(0),
});
export type GuestProcesses = z.infer<typeof GuestProcesses>;

const Count = z.number().min(0);
export const GuestMetrics = z.object({
  at_ms: z.number().int(),
  uptime_s: Count,
  /** Over 1, 5 and 15 minutes. */
  load: z.tuple([Count, Count, Count]),
  /** Of the machine; of a container, what its cgroup shows. */
  memory: z.object({
    total_kb: Count,
    available_kb: Count,
    cached_kb: Count,
    swap_total_kb: Count,
    swap_free_kb: Count,
    /** Of the app's cgroup. */
    app_kb: Count.nullable(),
  }),
  cpu: z.object({
    cpus: Count,
    user_ms: Count,
    system_ms: Count,
    idle_ms: Count,
    iowait_ms: Count,
    steal_ms: Count,
  }),
  disks: z.array(z.object({
    name: z.string().max(32),
    reads: Count,
    read_bytes: Count,
    writes: Count,
    written_bytes: Count,
  })).max(32),
  interfaces: z.array(z.object({
    name: z.string().max(16),
    received_bytes: Count,
    received_packets: Count,
    sent_bytes: Count,
    sent_packets: Count,
    dropped: Count,
  })).max(16),
  root: z.object({ total_bytes: Count, free_bytes: Count, files: Count, files_free: Count }).nullable(),
  processes: Count,
  execs: Count,
  oom_kills: Count,
  /** Since the boot: lines that the app wrote, and of them those that fell out of the buffer. */
  log: z.object({ lines: Count, dropped: Count }),
});
export type GuestMetrics = z.infer<typeof GuestMetrics>;

export const GuestPath = z.string().min(1).regex(/^\/[^\0]*$/, "a path begins with / and holds no NUL")
  .refine((path) => Buffer.byteLength(path) <= PATH_BYTES_MAX, `a path has at most ${PATH_BYTES_MAX} bytes`);

export const FileEntry = z.object({
  /** Absolute. Bytes that are no UTF-8 are replaced. */
  path: z.string().min(1).max(8_192),
  kind: z.enum(["file", "folder", "link", "other"]),
  size_bytes: z.number().int().min(0).max(FILE_BYTES_MAX),
  /** The lower twelve bits. */
  mode: z.number().int().min(0).max(0o7777),
  uid: z.number().int().min(0),
  gid: z.number().int().min(0),
  modified_ms: z.number().int(),
  /** Of a link: what it says. */
  target: z.string().max(8_192).nullable(),
});
export type FileEntry = z.infer<typeof FileEntry>;

export const ReadRequest = z.object({ path: GuestPath });
export const ListRequest = z.object({ path: GuestPath, depth: z.number().int().min(0).max(LIST_DEPTH_MAX) });

export const FreezeRequest = z.object({ timeout_s: z.number().int().min(1).max(FREEZE_TIMEOUT_S_MAX) });
export const FreezeAnswer = z.object({ frozen: z.number().int().min(0) });
export const ThawAnswer = z.object({
  thawed: z.number().int().min(0),
  /** The timeout had come before: what was read meanwhile is not one moment. */
  too_late: z.boolean(),
});
export type ThawAnswer = z.infer<typeof ThawAnswer>;
