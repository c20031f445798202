/**
 * config.json of the container (OCI runtime-spec v1.0.2), as vm-init wants it: see "In a container" in vm-init/README.md.
 * A pure function. The capabilities are what vm-init needs; it gives up NET_ADMIN before the user's process starts.
 */
import {
  CONTAINER_FOLDER,
  CONTROL_SOCKET,
  INIT_ENV,
  RUN_CONFIG_FILE,
} from "../../../contract/guest-limits.ts";
import { dirname } from "node:path";
import type { Rlimit } from "../../../contract/machine.ts";
import type { VmSpec } from "../driver.ts";
import type { RuncPaths } from "./runc-paths.ts";

const CPU_PERIOD_US = 100_000;
const PIDS_MAX = 16_384;
const MIB = 1_048_576;
const INIT_FOLDER = `${CONTAINER_FOLDER}/init`;

const DOCKER_CAPABILITIES = [
  ...[
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
  ],
  ...["CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID"],
  "CAP_SYS_CHROOT",
];
const CAPABILITIES = [...DOCKER_CAPABILITIES, "CAP_NET_ADMIN"];

/** Calls into the host's kernel that no app needs and that have often been a way out of a container. */
const REFUSED_CALLS = [
  ...[
    "add_key",
    "bpf",
    "delete_module",
    "finit_module",
    "init_module",
    "io_uring_enter",
    "io_uring_register",
  ],
  ...["io_uring_setup", "kexec_file_load", "kexec_load", "keyctl", "lookup_dcookie", "open_by_handle_at"],
  ...[
    "perf_event_open",
    "pivot_root",
    "request_key",
    "swapoff",
    "swapon",
    "syslog",
    "userfaultfd",
    "vmsplice",
  ],
];

/** As Docker has it. */
const SHM_MB_DEFAULT = 64;
const RLIM_INFINITY = "18446744073709551615";

const MASKED_PATHS = [
  ...["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug"],
  ...["/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/firmware"],
];
const READONLY_PATHS = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

export function ociConfig(spec: VmSpec, initFolder: string, paths: RuncPaths): Record<string, unknown> {
  const { guest, runConfig } = spec;
  const { nofile, rlimits = [] } = runConfig.limits;
  const shmKb = (runConfig.shm_mb ?? SHM_MB_DEFAULT) * 1_024;
  return {
    ociVersion: "1.0.2",
    hostname: runConfig.hostname,
    root: { path: paths.rootfs, readonly: false },
    process: {
      terminal: false,
      user: { uid: 0, gid: 0 },
      cwd: "/",
      args: [`${INIT_FOLDER}/vm-init`],
      env: INIT_ENV,
      capabilities: { bounding: CAPABILITIES, effective: CAPABILITIES, permitted: CAPABILITIES },
      rlimits: ociRlimits(nofile, rlimits),
      // As in a VM: setuid programs of the image work.
      noNewPrivileges: false,
    },
    mounts: [
      mount("/proc", "proc", "proc", ["nosuid", "noexec", "nodev"]),
      mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
      mount("/dev/pts", "devpts", "devpts", [
        "nosuid",
        "noexec",
        "newinstance",
        "ptmxmode=0666",
        "mode=0620",
        "gid=5",
      ]),
      mount("/dev/shm", "tmpfs", "shm", ["nosuid", "noexec", "nodev", "mode=1777", `size=${shmKb}k`]),
      mount("/dev/mqueue", "mqueue", "mqueue", ["nosuid", "noexec", "nodev"]),
      mount("/sys", "sysfs", "sysfs", ["nosuid", "noexec", "nodev", "ro"]),
      mount("/sys/fs/cgroup", "cgroup", "cgroup", ["nosuid", "noexec", "nodev", "relatime", "ro"]),
      bind(INIT_FOLDER, initFolder, ["ro", "nosuid", "nodev"]),
      bind(RUN_CONFIG_FILE, paths.runConfig, ["ro", "nosuid", "nodev", "noexec"]),
      bind(dirname(CONTROL_SOCKET), paths.control, ["rw", "nosuid", "nodev", "noexec"]),
    ],
    linux: {
      cgroupsPath: `/${paths.kernelName}`,
      namespaces: [
        ...["pid", "mount", "uts", "ipc"].map((type) => ({ type })),
        { type: "network", path: `/run/netns/${paths.kernelName}` },
      ],
      resources: {
        devices: [{ allow: false, access: "rwm" }],
        // `swap` is both together.
        memory: {
          limit: guest.memory_mb * MIB,
          swap: (guest.memory_mb + (runConfig.swap_mb ?? 0)) * MIB,
        },
        cpu: { period: CPU_PERIOD_US, quota: guest.cpus * CPU_PERIOD_US },
        pids: { limit: PIDS_MAX },
      },
      seccomp: {
        defaultAction: "SCMP_ACT_ALLOW",
        syscalls: [{ names: REFUSED_CALLS, action: "SCMP_ACT_ERRNO", errnoRet: 1 }],
      },
      // runc refuses those that are not of a namespace of the container's own, and says which.
      sysctl: runConfig.sysctls ?? {},
      rootfsPropagation: "private",
      maskedPaths: MASKED_PATHS,
      readonlyPaths: READONLY_PATHS,
    },
  };
}

/**
 * What vm-init may give the app: it cannot raise a hard limit without CAP_SYS_RESOURCE. A core is written where one was
 * asked for, as in a VM.
 */
function ociRlimits(nofile: number, rlimits: readonly Rlimit[]) {
  const all = new Map<string, Rlimit>([
    ["nofile", { name: "nofile", soft: nofile, hard: nofile }],
    ["core", { name: "core", soft: 0, hard: 0 }],
  ]);
  for (const limit of rlimits) all.set(limit.name, limit);
  return [...all.values()].map(({ name, soft, hard }) => ({
    type: `RLIMIT_${name.toUpperCase()}`,
    soft: ociLimit(soft),
    hard: ociLimit(hard),
  }));
}

/** JSON has the number, JavaScript has not. (Its types do not know rawJSON yet.) */
function ociLimit(value: Rlimit["soft"]): unknown {
  if (value !== "unlimited") return value;
  return (JSON as typeof JSON & { rawJSON(text: string): unknown }).rawJSON(RLIM_INFINITY);
}

function mount(destination: string, type: string, source: string, options: string[]) {
  return { destination, type, source, options };
}

function bind(destination: string, source: string, options: string[]) {
  return { destination, type: "bind", source, options: ["bind", ...options] };
}
