/** A machine's row as the VM that it is to be. The same row gives the same VM after a restart of the agent. */
import { readFileSync } from "node:fs";
import { z } from "zod";
import { GodwitError } from "../contract/errors.ts";
import type { MachineFile } from "../contract/machine.ts";
import { RUN_CONFIG_SCHEMA, type RunConfig } from "../contract/run-config.ts";
import { type Host, layerFile, remainsOf } from "./host.ts";
import type { FoundImage } from "./images/image-store.ts";
import type { LinkRequest, MachineLink } from "./network/network.ts";
import { machineBytesPerS } from "./network/rate.ts";
import { linkOf, orgNetworkOf } from "./store/links.ts";
import type { Machine } from "./store/machines.ts";
import type { VmSpec } from "./vmm/driver.ts";

/** Linux's own default for services under systemd; what images were tested with. */
export const NOFILE = 65_536;
/** The reference, section 2.2. */
export const STOP_SIGNAL_DEFAULT = "SIGINT";

/** Of the machine's own layer: the reference, section 2.4. */
const LAYER_RATES = { diskIops: 2_000, diskBytesPerS: 8 * 1_048_576 } as const;

/** @throws GodwitError `image.missing` where the machine's image is no longer on this host. */
export function imageOf(host: Pick<Host, "images">, machine: Machine): FoundImage {
  const image = host.images.find(machine.spec.image.digest);
  if (image !== null) return image;
  throw new GodwitError(
    "image.missing",
    `Cannot use image ${machine.spec.image.ref} for machine ${machine.id}: ${machine.spec.image.digest} is not on this host`,
    { fault: "us", retryable: true, hint: "have the worker pull it (POST /v1/images), then ask again" },
  );
}

/** The machine's link as it was allocated when the machine was created; null before that. */
export function linkRequestOf(host: Pick<Host, "store" | "driver">, machine: Machine): LinkRequest | null {
  const index = linkOf(host.store, machine.id);
  if (index === null) return null;
  const orgNetwork = host.store.write(() => orgNetworkOf(host.store, machine.spec.org_id));
  return { index, machineId: machine.id, orgId: machine.spec.org_id, orgNetwork, kind: host.driver.linkKind };
}

/** The signal of a stop, by order of who knows best (the reference, section 2.2). */
export function stopSignalOf(machine: Machine, image: FoundImage | null): string {
  return machine.spec.stop.signal ?? image?.config.stop_signal ?? STOP_SIGNAL_DEFAULT;
}

export function vmSpecOf(
  host: Pick<Host, "store" | "driver" | "images" | "network" | "config">,
  machine: Machine,
  attempt: number,
): VmSpec {
  const image = imageOf(host, machine);
  const request = linkRequestOf(host, machine);
  const link = request === null ? null : host.network.addressesOf(request);
  const mode = host.driver.linkKind === "veth" ? "container" : "vm";
  return {
    ...remainsOf(host.config, machine.id),
    guest: machine.spec.guest,
    imageFile: image.file,
    layerFile: layerFile(host.config, machine.id),
    link: link === null ? null : { name: link.name, mac: link.mac },
    runConfig: runConfigOf(machine, image, link, host.config.network.nameservers, {
      mode,
      nowMs: host.store.now(),
      nofile: mode === "vm" ? NOFILE : Math.min(NOFILE, hostNofile()),
    }),
    rates: { ...LAYER_RATES, networkBytesPerS: machineBytesPerS(host.config) },
    attempt,
  };
}

export function runConfigOf(
  machine: Machine,
  image: FoundImage,
  link: MachineLink | null,
  nameservers: readonly string[],
  at: { readonly mode: RunConfig["mode"]; readonly nowMs: number; readonly nofile: number },
): RunConfig {
  const { spec } = machine;
  const address6 = link === null ? null : bareAddress(link.address6);
  return {
    schema: RUN_CONFIG_SCHEMA,
    mode: at.mode,
    machine_id: machine.id,
    app_name: spec.app_name,
    region: spec.region,
    hostname: machine.id,
    image: image.config,
    entrypoint: spec.entrypoint,
    command: spec.command,
    // The variables of the reference, section 2.3; nobody else may set names that begin with FLY_.
    env: {
      ...spec.env,
      FLY_APP_NAME: spec.app_name,
      FLY_MACHINE_ID: machine.id,
      FLY_ALLOC_ID: machine.id,
      FLY_REGION: spec.region,
      PRIMARY_REGION: spec.env.PRIMARY_REGION ?? spec.region,
      FLY_IMAGE_REF: spec.image.ref,
      FLY_MACHINE_VERSION: spec.release_id,
      FLY_VM_MEMORY_MB: String(spec.guest.memory_mb),
      ...(address6 === null ? {} : { FLY_PRIVATE_IP: address6 }),
    },
    host_clock_ms: at.nowMs,
    network: link === null ? null : {
      interface: link.interface,
      mtu: link.mtu,
      address4: link.address4,
      gateway4: link.gateway4,
      address6: link.address6,
      gateway6: link.gateway6,
      nameservers: [...nameservers],
      searches: [],
    },
    hosts: address6 === null ? [] : [{ address: address6, names: ["fly-local-6pn"] }],
    stop: { signal: stopSignalOf(machine, image), timeout_s: spec.stop.timeout_s },
    limits: { nofile: at.nofile, rlimits: spec.rlimits },
    processes: spec.processes.map(({ exec, entrypoint, cmd, env, user }) => ({
      exec,
      entrypoint,
      command: cmd,
      env,
      user,
    })),
    files: spec.files.map((file) => ({
      path: file.guest_path,
      base64: contentOf(machine, file),
      mode: file.mode,
    })),
    sysctls: spec.sysctls,
    ...(spec.swap_size_mb === null ? {} : { swap_mb: spec.swap_size_mb }),
    ...(spec.shm_size_mb === null ? {} : { shm_mb: spec.shm_size_mb }),
    ...(spec.resume_hook === null ? {} : { resume_hook: spec.resume_hook }),
  };
}

/** Base64. @throws GodwitError `machine.secret_unusable` */
function contentOf({ id, spec }: Machine, file: MachineFile): string {
  if ("raw_value" in file) return file.raw_value;
  const value = spec.env[file.secret_name];
  const parsed = z.base64().safeParse(value);
  if (parsed.success) return parsed.data;
  throw new GodwitError(
    "machine.secret_unusable",
    `Cannot start machine ${id}: its file ${file.guest_path} is to hold the secret ${file.secret_name}, which is ` +
      (value === undefined ? "not set" : "not base64"),
    { fault: "app", hint: "set the secret to the base64 of the file's content" },
  );
}

/** A container cannot have more than its host allows this process. */
function hostNofile(): number {
  const hard = /^Max open files\s+\S+\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
  return hard === undefined ? NOFILE : Number(hard);
}

/** Without the prefix length. */
export function bareAddress(address: string): string {
  return address.split("/")[0] ?? address;
}
