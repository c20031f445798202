/**
 * From a Dockerfile to an image in a registry, by buildah: as root, without a daemon, storage driver vfs (no mounts), chroot
 * isolation. Each build has a storage of its own which is removed at its end, so that builds do not meet and disk use is
 * bounded. Layers are pushed as plain tars: the registry is near, and gzip would cost more than it saves, twice.
 */
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { GodwitError } from "../../contract/errors.ts";
import { buildError, pushError } from "./build-error.ts";
import { pushLayout, type RegistryTarget } from "./push-layout.ts";
import { type BuildToolOptions, runBuildTool } from "./run-build-tool.ts";

/** The system's own settings of registries (mirrors, short names); they stay in force. */
const SYSTEM_REGISTRIES_FILE = "/etc/containers/registries.conf";

export interface BuildOptions {
  readonly contextFolder: string;
  readonly dockerfile: string;
  /** Repository and tag without the registry's host: `my-app:deployment-1`. */
  readonly name: string;
  readonly registry: RegistryTarget;
  /** Holds buildah's storage during the build; on a disk, not on tmpfs. About three times the image. */
  readonly storageFolder: string;
  readonly runFolder: string;
  /** Every line that buildah prints, as it comes. */
  readonly onLine: (line: string) => void;
  readonly signal?: AbortSignal;
}

export interface BuiltImage {
  /** `HOST/NAME@sha256:…`. */
  readonly ref: string;
  readonly digest: string;
  /** Config and layers, as pushed. */
  readonly size_bytes: number;
}

/**
 * @throws GodwitError `build.dockerfile_missing`, `build.context_missing`, `build.syntax`, `build.step_failed`,
 * `build.base_unavailable`, `build.push_failed`, `build.push_unauthorized`, `build.disk_full`, `build.aborted`
 */
export async function buildImage(options: BuildOptions): Promise<BuiltImage> {
  checkInput(options);
  const place = await openPlace(options);
  const tool: BuildToolOptions = {
    onLine: options.onLine,
    tempFolder: place.temp,
    env: place.env,
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  };
  try {
    const image = await build(options, place, tool);
    const folder = await exportImage(image, place, tool);
    const { name, registry } = options;
    const pushed = await pushLayout({ source: `dir:${folder}`, name, registry, ...tool });
    return { ...pushed, size_bytes: await sizeOf(folder) };
  } finally {
    await place.remove();
  }
}

interface Place {
  /** buildah and its global options. */
  readonly buildah: readonly string[];
  readonly env: Record<string, string>;
  readonly temp: string;
  remove(): Promise<void>;
}

function checkInput({ contextFolder, dockerfile }: BuildOptions): void {
  if (!existsSync(contextFolder)) {
    throw new GodwitError(
      "build.context_missing",
      `Cannot build: the folder ${contextFolder} does not exist`,
      {
        fault: "client",
        hint: "name the folder that holds the app",
      },
    );
  }
  if (!existsSync(dockerfile)) {
    throw new GodwitError(
      "build.dockerfile_missing",
      `Cannot build: the Dockerfile ${dockerfile} does not exist`,
      {
        fault: "client",
        hint: "name it with --dockerfile, or deploy a finished image with --image",
      },
    );
  }
}

async function openPlace(options: BuildOptions): Promise<Place> {
  await mkdir(options.storageFolder, { recursive: true, mode: 0o700 });
  await mkdir(options.runFolder, { recursive: true, mode: 0o700 });
  await removeDeadBuilds(options.storageFolder);
  await removeDeadBuilds(options.runFolder);
  const storage = await mkdtemp(join(options.storageFolder, `build-${process.pid}-`));
  const run = await mkdtemp(join(options.runFolder, `build-${process.pid}-`));
  const temp = join(storage, "temp");
  await mkdir(temp);
  const registriesFile = join(run, "registries.conf");
  await writeFile(registriesFile, await registriesConf(options.registry));
  return {
    buildah: [
      "buildah",
      "--root",
      join(storage, "root"),
      "--runroot",
      join(run, "runroot"),
      "--storage-driver",
      "vfs",
    ],
    env: { CONTAINERS_REGISTRIES_CONF: registriesFile },
    temp,
    async remove() {
      for (const folder of [storage, run]) await rm(folder, { recursive: true, force: true });
    },
  };
}

/** What a build left whose process was killed: its tools died with it, its mounts with their namespace. */
async function removeDeadBuilds(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const pid = /^build-(\d+)-/.exec(name)?.[1];
    if (pid === undefined || existsSync(`/proc/${pid}`)) continue;
    await rm(join(folder, name), { recursive: true, force: true });
  }
}

/** `--tls-verify=false` would hold for the registries of base images too; this names the one that speaks plain HTTP. */
async function registriesConf(registry: RegistryTarget): Promise<string> {
  const system = existsSync(SYSTEM_REGISTRIES_FILE) ? await readFile(SYSTEM_REGISTRIES_FILE, "utf8") : "";
  if (!registry.insecure) return system;
  return `${system}\n[[registry]]\nlocation = ${JSON.stringify(registry.host)}\ninsecure = true\n`;
}

async function build(options: BuildOptions, place: Place, tool: BuildToolOptions): Promise<string> {
  const idFile = join(place.temp, "image-id");
  const result = await runBuildTool([
    ...place.buildah,
    "bud",
    ...["--isolation", "chroot", "--format", "oci", "--layers=false"],
    ...["--authfile", options.registry.authFile, "--iidfile", idFile, "--file", options.dockerfile],
    options.contextFolder,
  ], tool);
  if (result.status !== 0) throw buildError(options.dockerfile, result);
  return (await readFile(idFile, "utf8")).trim();
}

/** Into `dir:`, the only target into which buildah 1.28 does not compress, whatever its options say. */
async function exportImage(image: string, place: Place, tool: BuildToolOptions): Promise<string> {
  const folder = join(place.temp, "image");
  const push = [...place.buildah, "push", "--quiet", "--disable-compression", image, `dir:${folder}`];
  const result = await runBuildTool(push, tool);
  if (result.status !== 0) throw pushError(folder, result);
  return folder;
}

async function sizeOf(folder: string): Promise<number> {
  const manifest = JSON.parse(await readFile(join(folder, "manifest.json"), "utf8")) as {
    config: { size: number };
    layers: { size: number }[];
  };
  return manifest.layers.reduce((sum, layer) => sum + layer.size, manifest.config.size);
}
