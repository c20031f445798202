/**
 * The plain values of the guest's contracts (run-config.ts, guest-api.ts, which export them again). They stand apart
 * because vm-init takes only these and types: zod in PID 1 of every VM would cost 3.5 MB of anonymous memory.
 */

export const RUN_CONFIG_SCHEMA = 1;
export const RUN_CONFIG_BYTES_MAX = 1_048_576;

/** Where each drive of a VM stands. Volumes follow, from `vde` (`volumeDrive`). */
export const DRIVES = { init: "/dev/vda", image: "/dev/vdb", layer: "/dev/vdc", config: "/dev/vdd" } as const;

const FIRST_VOLUME_LETTER = "e".charCodeAt(0);
/** As many as letters are left. */
export const VOLUMES_MAX = 22;
/** The drive of volume number `index` of the run configuration. */
export function volumeDrive(index: number): string {
  return `/dev/vd${String.fromCharCode(FIRST_VOLUME_LETTER + index)}`;
}

/** Where things lie for a container (runc driver): files bind-mounted under one folder of the root. */
export const CONTAINER_FOLDER = "/.godwit";
/** What vm-init itself runs with; deploy/images/stage0.sh says the same to a VM's, and why. */
export const INIT_ENV = [`LD_LIBRARY_PATH=${CONTAINER_FOLDER}/init/lib`, "BUN_JSC_useBaselineJIT=0"] as const;
export const RUN_CONFIG_FILE = `${CONTAINER_FOLDER}/run.json`;
export const CONTROL_SOCKET = `${CONTAINER_FOLDER}/control/guest.sock`;
/** The name of the virtio-serial port (QEMU). */
export const CONTROL_PORT_NAME = "godwit.control";
/** The vsock port (Firecracker), where there is no virtio-serial port. */
export const CONTROL_VSOCK_PORT = 10_000;

export const GUEST_API_SCHEMA = 1;
export const GUEST_BODY_BYTES_MAX = 262_144;
export const LOG_BUFFER_BYTES = 262_144;
export const LOG_LINE_BYTES_MAX = 16_384;
/** After the process's end vm-init waits this long for its worker to take the exit, then powers off anyway. */
export const EXIT_ACK_WAIT_MS = 3_000;
/** The longest wait before a restart that a worker may ask for. */
export const RESTART_WAIT_MS_MAX = 300_000;
/** Of `ResumedRequest.entropy`. */
export const RESUME_ENTROPY_CHARS_MAX = 1_024;

/** The console line by which a failed boot is found where the control channel never came up. */
export const BOOT_FAILURE_MARK = "godwit-boot-failure:";

/** Commands (exec) that run at once in one machine, console sessions included. */
export const EXECS_MAX = 16;
/** Of what one call to run a command may send and get, each of stdin, stdout and stderr; a stream has no such bound. */
export const EXEC_OUTPUT_BYTES_MAX = 1_048_576;
export const EXEC_TIMEOUT_MS_MAX = 86_400_000;
export const EXEC_WORDS_MAX = 256;
export const EXEC_TEXT_CHARS_MAX = 32_768;

/** PATH_MAX of Linux, less its NUL. */
export const PATH_BYTES_MAX = 4_095;
/** Larger than any disk of a machine: what says more is broken. */
export const FILE_BYTES_MAX = 1_099_511_627_776;
export const LIST_DEPTH_MAX = 64;
export const LIST_ENTRIES_MAX = 100_000;
/** One entry of a list as JSON: a path where each byte may have become a `\uXXXX` escape, twice (links), and its frame. */
export const LIST_ENTRY_BYTES_MAX = 65_536;

export const PROCESSES_MAX = 512;
/** File systems that were frozen are thawed after this at the latest, whatever became of the worker. */
export const FREEZE_TIMEOUT_S_MAX = 60;

/**
 * A refusal says its error in this field too, as JSON in percent-encoding: an upload that is refused before it was read is
 * cut off, and the answer's body may go with it.
 */
export const ERROR_FIELD = "godwit-error";
