/**
 * All that a fresh Firecracker is told, in its order, as pure functions. Paths are those inside the jail. Nothing secret may
 * appear here: the run configuration is a drive.
 */
import type { DeviceRates, VmSpec } from "../driver.ts";
import { type ApiRequest, apiRequest, type RateLimiter } from "./api-types.ts";

/**
 * Where things lie inside the jail: all of it at its root, whose parent the jailed user cannot write, so that no part of
 * these paths but the last can be turned into a link.
 */
export const IN_JAIL = {
  api: "/api.sock",
  vsock: "/vsock.sock",
  log: "/log.fifo",
  metrics: "/metrics.fifo",
  kernel: "/vmlinux",
  initramfs: "/initramfs",
  init: "/init.drive",
  image: "/image.drive",
  layer: "/layer.drive",
  config: "/config.drive",
  memory: "/memory",
  state: "/state",
} as const;

export const INTERFACE_ID = "eth0";
/** Each VM has a vsock device of its own, so that all may have the same number; below 3 they are reserved. */
const GUEST_CID = 3;
const SECOND_MS = 1_000;
/** What a guest may write to its console: above, the device drops it (and counts `uart.rate_limiter_dropped_bytes`). */
const CONSOLE_BYTES_PER_S = 65_536;
const CONSOLE_BURST_BYTES = 262_144;

/** Devices, then InstanceStart. Drives are put in the order of DRIVES: the guest's kernel names them as they come. */
export function startRequests(spec: Omit<VmSpec, "runConfig">): ApiRequest[] {
  return [
    ...freshRequests(),
    apiRequest("machineConfig", {
      vcpu_count: spec.guest.cpus,
      mem_size_mib: spec.guest.memory_mb,
      smt: false,
      // Only for snapshots that hold differences.
      track_dirty_pages: false,
      huge_pages: "None",
    }),
    apiRequest("bootSource", {
      kernel_image_path: IN_JAIL.kernel,
      initrd_path: IN_JAIL.initramfs,
      boot_args: kernelCommandLine(),
    }),
    drive("init", IN_JAIL.init, true),
    drive("image", IN_JAIL.image, true),
    drive("layer", IN_JAIL.layer, false, diskLimiter(spec.rates)),
    drive("config", IN_JAIL.config, true),
    ...(spec.link === null ? [] : [
      apiRequest("networkInterface", {
        iface_id: INTERFACE_ID,
        host_dev_name: spec.link.name,
        guest_mac: spec.link.mac,
        ...networkLimiters(spec.rates),
      }),
    ]),
    apiRequest("vsock", { guest_cid: GUEST_CID, uds_path: IN_JAIL.vsock }),
    apiRequest("entropy", {}),
    apiRequest("balloon", {
      amount_mib: 0,
      deflate_on_oom: true,
      stats_polling_interval_s: 0,
      // Memory that the guest frees goes back to the host.
      free_page_reporting: true,
    }),
    apiRequest("action", { action_type: "InstanceStart" }),
  ];
}

/** A snapshot holds every device; only what is not part of the VM may be put before it. */
export function resumeRequests(spec: Pick<VmSpec, "link">): ApiRequest[] {
  return [
    ...freshRequests(),
    apiRequest("snapshotLoad", {
      snapshot_path: IN_JAIL.state,
      mem_backend: { backend_type: "File", backend_path: IN_JAIL.memory },
      resume_vm: true,
      track_dirty_pages: false,
      network_overrides: spec.link === null
        ? []
        : [{ iface_id: INTERFACE_ID, host_dev_name: spec.link.name }],
    }),
  ];
}

/** `reboot=k`: a restart by the keyboard controller is what ends Firecracker. Its devices are named by ACPI tables. */
export function kernelCommandLine(): string {
  return "console=ttyS0 reboot=k panic=-1 quiet i8042.noaux i8042.nomux i8042.dumbkbd";
}

function freshRequests(): ApiRequest[] {
  return [
    // Not Info: that would copy each request into the log.
    apiRequest("logger", {
      log_path: IN_JAIL.log,
      level: "Warning",
      show_level: true,
      show_log_origin: false,
    }),
    apiRequest("metrics", { metrics_path: IN_JAIL.metrics }),
    apiRequest("serial", {
      rate_limiter: {
        size: CONSOLE_BYTES_PER_S,
        refill_time: SECOND_MS,
        one_time_burst: CONSOLE_BURST_BYTES,
      },
    }),
  ];
}

function drive(id: string, path: string, readOnly: boolean, limiter: RateLimiter | null = null): ApiRequest {
  return apiRequest("drive", {
    drive_id: id,
    path_on_host: path,
    // The root file system is the initramfs's.
    is_root_device: false,
    is_read_only: readOnly,
    // Unsafe would answer the guest's flush without doing it.
    cache_type: readOnly ? "Unsafe" : "Writeback",
    io_engine: "Sync",
    ...(limiter === null ? {} : { rate_limiter: limiter }),
  });
}

function diskLimiter(rates: DeviceRates): RateLimiter | null {
  const limiter: RateLimiter = {
    ...(rates.diskBytesPerS === null ? {} : { bandwidth: aSecond(rates.diskBytesPerS) }),
    ...(rates.diskIops === null ? {} : { ops: aSecond(rates.diskIops) }),
  };
  return Object.keys(limiter).length === 0 ? null : limiter;
}

function networkLimiters(rates: DeviceRates) {
  if (rates.networkBytesPerS === null) return {};
  const limiter = { bandwidth: aSecond(rates.networkBytesPerS) };
  return { rx_rate_limiter: limiter, tx_rate_limiter: limiter };
}

function aSecond(tokens: number) {
  return { size: tokens, refill_time: SECOND_MS };
}
