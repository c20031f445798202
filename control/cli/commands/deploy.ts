/** godwit deploy: an image, or a Dockerfile or layout that becomes one, as the app's next release; followed to its end. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { GodwitError, messageOf } from "../../contract/errors.ts";
import type { ApiClient } from "../api-client.ts";
import { type DeployInput, followRelease, type Release, startDeploy } from "../release.ts";
import type { Session } from "../session.ts";
import { foundApp } from "./apps.ts";
import { readLogs, renderLine } from "./logs.ts";

export interface DeployFlags {
  readonly image?: string;
  readonly dockerfile?: string;
  /** Folder of an OCI image layout, with `:TAG` where it holds several images. */
  readonly ociLayout?: string;
  readonly env?: readonly string[];
  readonly vmMemory?: number;
  readonly vmCpus?: number;
  readonly internalPort?: number;
  readonly restart?: string;
  /** A file with MachineSettings. */
  readonly machineConfig?: string;
  /** False with --no-service. */
  readonly service: boolean;
  readonly detach?: true;
  readonly waitTimeout?: number;
}

/** Lines of the app's log behind a failed deploy. */
const LOG_TAIL_LINES = 20;

export async function deploy(
  session: Session,
  flags: DeployFlags,
  command: readonly string[],
): Promise<void> {
  const app = session.app;
  const input = { ...deployInput(app, flags, command), ...machineInput(flags) };
  const api = await session.api();
  const known = await api.graphql<{ app: { url: string } | null }>(
    `query ($name: String!) { app(name: $name) { url } }`,
    { name: app },
  );
  const { url } = foundApp(known.app, app);
  const image = flags.image ?? await makeImage(session, app, flags);
  const started = await startDeploy(api, { ...input, image });
  session.progress(`Release ${started.version} of ${app}: ${image}`);
  if (flags.detach) {
    return session.result({ release: plain(started) }, "The deploy goes on without this command");
  }
  const release = await follow(session, api, app, started);
  session.result({ release: plain(release), url }, `Release ${release.version} of ${app} answers at ${url}`);
}

/** Pure: the command line as the API takes it, without the image. @throws `cli.usage` */
export function deployInput(
  app: string,
  flags: DeployFlags,
  command: readonly string[],
): Omit<DeployInput, "image"> {
  if ([flags.image, flags.dockerfile, flags.ociLayout].filter((given) => given !== undefined).length !== 1) {
    throw usage("Deploy what?", "give one of --image REF, --dockerfile FILE and --oci-layout FOLDER[:TAG]");
  }
  if (flags.internalPort !== undefined && !flags.service) {
    throw usage("--internal-port and --no-service contradict each other", "leave one of them out");
  }
  const guest = {
    ...(flags.vmMemory === undefined ? {} : { memoryMb: flags.vmMemory }),
    ...(flags.vmCpus === undefined ? {} : { cpus: flags.vmCpus }),
  };
  return {
    app,
    ...(Object.keys(guest).length === 0 ? {} : { guest }),
    ...(flags.env === undefined ? {} : { env: flags.env.map(readEnv) }),
    ...(flags.service ? {} : { services: [] }),
    ...(flags.internalPort === undefined ? {} : { services: [httpService(flags.internalPort)] }),
    ...(command.length === 0 ? {} : { command: [...command] }),
    ...(flags.waitTimeout === undefined ? {} : { waitTimeoutS: flags.waitTimeout }),
  };
}

/** Settings out of a file, the restart policy on top. @throws `cli.usage` */
export function machineInput({ machineConfig, restart }: DeployFlags): Pick<DeployInput, "machine"> {
  if (machineConfig === undefined && restart === undefined) return {};
  const settings = machineConfig === undefined ? {} : readJson(machineConfig);
  return { machine: restart === undefined ? settings : { ...settings, restart: { policy: restart } } };
}

function readJson(file: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, "utf8"));
  } catch (error) {
    // What JSON.parse says quotes the text, which may hold secrets.
    const why = error instanceof SyntaxError ? "it is not JSON" : messageOf(error);
    throw usage(`Cannot read --machine-config ${file}: ${why}`, "give a JSON file with machine settings");
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return { ...value };
  throw usage(`Cannot read --machine-config ${file}: it is no JSON object`, "wrap the settings in { }");
}

function readEnv(pair: string): { name: string; value: string } {
  const at = pair.indexOf("=");
  if (at > 0) return { name: pair.slice(0, at), value: pair.slice(at + 1) };
  // The value may be a secret that was mistyped: only the name's place is told.
  throw usage("Cannot read an --env: it has no NAME= before its value", "for example --env LOG_LEVEL=debug");
}

const httpService = (internalPort: number) => ({
  protocol: "tcp",
  internal_port: internalPort,
  ports: [{ port: 80, handlers: ["http"] }],
});

function usage(message: string, hint: string): GodwitError {
  return new GodwitError("cli.usage", message, { fault: "client", hint });
}

/** Pushed to the stack's registry; answers the reference by digest. */
async function makeImage(session: Session, app: string, flags: DeployFlags): Promise<string> {
  const source = flags.dockerfile === undefined ? layoutOf(flags.ociLayout!) : dockerfileOf(flags.dockerfile);
  const place = session.defaults.registry;
  if (place === undefined) {
    throw new GodwitError("cli.no_registry", "Have no registry to push the image to", {
      fault: "client",
      hint: "push it yourself and deploy it with --image, or start a stack with `bun run up`",
    });
  }
  const registry = {
    host: place.host,
    authFile: place.auth_file,
    insecure: place.host.startsWith("127.0.0.1:"),
  };
  const name = `${app}:${Date.now().toString(36)}`;
  const folder = mkdtempSync(join(tmpdir(), "godwit-build-"));
  const end = new AbortController();
  const interrupt = () => end.abort();
  process.once("SIGINT", interrupt);
  const making = {
    name,
    registry,
    signal: end.signal,
    onLine: (line: string) => session.progress(`  ${line}`),
  };
  try {
    if ("layout" in source) {
      const { pushLayout } = await import("../build/push-layout.ts");
      session.progress(`Pushing ${source.layout}`);
      return (await pushLayout({ ...making, source: `oci:${source.layout}`, tempFolder: folder })).ref;
    }
    const { buildImage } = await import("../build/build-image.ts");
    const built = await buildImage({
      ...making,
      contextFolder: dirname(source.dockerfile),
      dockerfile: source.dockerfile,
      storageFolder: join(folder, "storage"),
      runFolder: join(folder, "run"),
    });
    return built.ref;
  } finally {
    process.off("SIGINT", interrupt);
    rmSync(folder, { recursive: true, force: true });
  }
}

function dockerfileOf(file: string): { readonly dockerfile: string } {
  const dockerfile = resolve(file);
  if (!existsSync(dockerfile)) throw usage(`There is no file ${dockerfile}`, "give the path of a Dockerfile");
  return { dockerfile };
}

function layoutOf(text: string): { readonly layout: string } {
  const colon = text.lastIndexOf(":");
  const isTagged = colon > text.lastIndexOf("/");
  const folder = resolve(isTagged ? text.slice(0, colon) : text);
  if (!existsSync(join(folder, "oci-layout"))) {
    throw usage(
      `${folder} is no OCI image layout: it has no file oci-layout`,
      "`skopeo copy … oci:FOLDER:TAG` writes one",
    );
  }
  return { layout: isTagged ? `${folder}${text.slice(colon)}` : folder };
}

async function follow(session: Session, api: ApiClient, app: string, started: Release): Promise<Release> {
  try {
    return await followRelease(api, started, (message) => session.progress(`  ${message}`));
  } catch (error) {
    if (error instanceof GodwitError && error.code !== "cli.unreachable") {
      await showLastLines(session, api, app);
    }
    throw error;
  }
}

async function showLastLines(session: Session, api: ApiClient, app: string): Promise<void> {
  try {
    let first = true;
    for await (const line of readLogs(api, app, { tail: LOG_TAIL_LINES })) {
      if (first) session.progress("Last lines of its log:");
      first = false;
      session.progress(`  ${renderLine(line)}`);
    }
  } catch {
    session.progress("(its log cannot be read now)"); // the deploy's own error follows and matters more
  }
}

function plain(release: Release) {
  return {
    id: release.rowId,
    version: release.version,
    status: release.status.toLowerCase(),
    image: release.image,
    image_digest: release.imageDigest,
  };
}
