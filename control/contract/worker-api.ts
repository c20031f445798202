/**
 * The API of one worker, as control uses it: HTTP/1.1 with JSON over a unix socket (mode 0600), later mutual TLS. Every
 * call is idempotent: machines are named by the caller, and asking for what already is answers with what is.
 * Failures are `{"error": WireError}` with 4xx (fault client or app) or 5xx (fault us).
 *
 *   GET    /v1/host                        HostView
 *   POST   /v1/offers                      OfferRequest → OfferAnswer (409 `place.no_capacity`)
 *   DELETE /v1/offers/ID                   204
 *   POST   /v1/images                      ImageRequest → ImageAnswer; pulls, verifies, builds the base; long
 *   GET    /v1/images/progress?ref=REF     ImageProgress of that pull
 *   PUT    /v1/machines/ID                 MachineSpec → MachineView (state `created`)
 *   GET    /v1/machines[?app_id=]          { machines: MachineView[] }
 *   GET    /v1/machines/ID                 MachineView with `events`
 *   POST   /v1/machines/ID/start           MachineView; accepted, state `starting` or beyond
 *   POST   /v1/machines/ID/stop            StopBody → MachineView; accepted
 *   POST   /v1/machines/ID/suspend         MachineView; accepted, state `suspending` or beyond; a start goes on where it was.
 *                                          409 `vmm.unsupported` where the host runs no VMs
 *   POST   /v1/machines/ID/cordon|uncordon MachineView
 *   DELETE /v1/machines/ID                 MachineView (state `destroying` or `destroyed`); works in every state
 *   GET    /v1/machines/ID/wait?state=STATE[&state=…]&timeout_s=N
 *                                          MachineView once in one of the states, or in a state from which none of them
 *                                          can be reached without a new request; 408 `machine.wait_timeout`
 *   GET    /v1/machines/ID/listeners       GuestListeners
 *   GET    /v1/machines/ID/sysinfo         GuestSysinfo
 *   GET    /v1/machines/ID/ps              GuestProcesses
 *   GET    /v1/machines/ID/guest-metrics   GuestMetrics
 *   POST   /v1/machines/ID/exec            ExecBody → ExecAnswer, once the command has ended
 *   POST   /v1/machines/ID/exec/stream     frames of exec-frames.ts both ways while the command runs; broken off: killed
 *   GET    /v1/machines/ID/files?path=P    the file's bytes; its FileEntry in the field `godwit-file`
 *   PUT    /v1/machines/ID/files?path=P[&mode=OCTAL][&replace=1]
 *                                          the body becomes the file → FileEntry
 *   GET    /v1/machines/ID/list?path=P[&depth=N]
 *                                          NDJSON of FileEntry, `path` itself first
 *   GET    /v1/machines/ID/logs?tail=N     { lines: LogLine[] } the worker's own bounded memory of last lines
 *   POST   /v1/shutdown                    ShutdownRequest → ShutdownAnswer; stops all machines, remembers which of them ran
 *                                          (the next agent starts those again) and takes no new work: 503
 *                                          `worker.shutting_down`
 *   GET    /metrics                        Prometheus text
 */
import { z } from "zod";
import { ExecExit, ExecRequest } from "./guest-api.ts";
import { EXEC_OUTPUT_BYTES_MAX } from "./guest-limits.ts";
import { Guest, MachineView } from "./machine.ts";
import { Digest, HostId, MachineId, RegionCode } from "./names.ts";
import { ImageConfig } from "./run-config.ts";
import { PublisherKey } from "./signing.ts";

export const OFFER_TTL_S = 10;
export const WAIT_TIMEOUT_S_MAX = 60;
export const WORKER_BODY_BYTES_MAX = 16_777_216;

export const HostView = z.object({
  id: HostId,
  region: RegionCode,
  version: z.string(),
  vmm: z.enum(["qemu", "runc", "firecracker"]),
  /** `kvm`, `tcg`, or `none` for runc. */
  acceleration: z.enum(["kvm", "tcg", "none"]),
  cpus: z.number().int(),
  memory_mb: z.number().int(),
  memory_free_mb: z.number().int(),
  machines: z.number().int(),
});
export type HostView = z.infer<typeof HostView>;

export const OfferRequest = z.object({ machine_id: MachineId, guest: Guest, image_digest: Digest });
export type OfferRequest = z.infer<typeof OfferRequest>;
export const OfferAnswer = z.object({
  id: z.string().max(64),
  host_id: HostId,
  expires_at_ms: z.number().int(),
  /** Lower is better: the host's share of memory in use after taking this machine, less 0.2 where it has the image. */
  cost: z.number(),
});
export type OfferAnswer = z.infer<typeof OfferAnswer>;

export const ImageRequest = z.object({
  /** `[REGISTRY/]NAME[:TAG][@sha256:…]`, or `oci:FOLDER[:TAG]` for a layout on the worker's own disk. */
  ref: z.string().min(1).max(512),
});
export const ImageAnswer = z.object({
  ref: z.string(),
  /** Of the image manifest for this platform. */
  digest: Digest,
  config: ImageConfig,
  size_bytes: z.number().int(),
});
export type ImageAnswer = z.infer<typeof ImageAnswer>;
/** In words, for people; null where no pull of the reference is under way. */
export const ImageProgress = z.object({ message: z.string().max(512).nullable() });

export const StopBody = z.object({
  signal: z.string().max(16).nullable().default(null),
  timeout_s: z.number().int().min(0).max(300).nullable().default(null),
});
export type StopBody = z.infer<typeof StopBody>;

export const EXEC_TIMEOUT_MS_DEFAULT = 30_000;
/** Of a call that answers when the command has ended; a stream goes on for as long as it likes. */
export const EXEC_CALL_TIMEOUT_MS_MAX = 100_000;

/** A command that is run to its end, its input and output in one piece. */
export const ExecBody = z.object({
  argv: ExecRequest.shape.argv,
  shell: ExecRequest.shape.shell,
  env: ExecRequest.shape.env,
  cwd: ExecRequest.shape.cwd,
  user: ExecRequest.shape.user,
  stdin: z.string().max(EXEC_OUTPUT_BYTES_MAX).nullable().default(null),
  timeout_ms: z.number().int().min(1).max(EXEC_CALL_TIMEOUT_MS_MAX).default(EXEC_TIMEOUT_MS_DEFAULT),
  /** Of stdout and of stderr each. */
  output_bytes_max: z.number().int().min(0).max(EXEC_OUTPUT_BYTES_MAX).default(EXEC_OUTPUT_BYTES_MAX),
});
export type ExecBody = z.infer<typeof ExecBody>;

export const ExecAnswer = z.object({
  ...ExecExit.shape,
  /** As UTF-8; other bytes are replaced. */
  stdout: z.string(),
  stderr: z.string(),
  /** Something above `output_bytes_max` was lost. */
  truncated: z.boolean(),
});
export type ExecAnswer = z.infer<typeof ExecAnswer>;

export const ShutdownRequest = z.object({ timeout_s: z.number().int().min(0).max(600).default(60) });
export type ShutdownRequest = z.infer<typeof ShutdownRequest>;
export const ShutdownAnswer = z.object({
  stopped: z.number().int(),
  /** Machines that were not at rest when the time was over. */
  left: z.array(MachineId),
});
export type ShutdownAnswer = z.infer<typeof ShutdownAnswer>;

export const MachineList = z.object({ machines: z.array(MachineView) });

/** How a worker makes itself known: `PUT /internal/v1/hosts/ID` on control, with the node token, every few seconds. */
export const HostRegistration = z.object({
  host: HostView,
  /** `unix:/run/…/worker.sock` or `https://…`. */
  url: z.string().max(512),
  /** Signs what this host publishes; its key pair is made at the first start, in the state folder. */
  publisher_key: PublisherKey.optional(),
});
export type HostRegistration = z.infer<typeof HostRegistration>;
export const REGISTRATION_INTERVAL_MS = 5_000;
