/** A real docker-registry (Debian's) on loopback, with one user and a generated password. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Server, startServer } from "./child.ts";
import { collectRegistry, REGISTRY_BYTES_MAX, registryBytes } from "./registry-bound.ts";

export interface RegistryOptions {
  /** Holds blobs and configuration; made where missing. */
  readonly folder: string;
  readonly port: number;
  readonly password: string;
  readonly logFile: string;
  /** Beyond this, old tags and what only they need are removed at start. @default REGISTRY_BYTES_MAX */
  readonly bytesMax?: number;
  /** Hears of the process before it answers. */
  readonly onSpawn?: (pid: number) => void;
}

export interface RegistryServer extends Server {
  /** `127.0.0.1:PORT`, the first part of an image's name. */
  readonly host: string;
  /** containers-auth.json(5) for skopeo and buildah, mode 0600. */
  readonly authFile: string;
}

export async function startRegistry(options: RegistryOptions): Promise<RegistryServer> {
  mkdirSync(options.folder, { recursive: true, mode: 0o700 });
  const host = `127.0.0.1:${options.port}`;
  const hash = await Bun.password.hash(options.password, { algorithm: "bcrypt", cost: 5 });
  const passwordFile = join(options.folder, "htpasswd");
  writeFileSync(passwordFile, `godwit:${hash}\n`, { mode: 0o600 });
  const authFile = join(options.folder, "auth.json");
  const basic = Buffer.from(`godwit:${options.password}`).toString("base64");
  writeFileSync(authFile, JSON.stringify({ auths: { [host]: { auth: basic } } }), { mode: 0o600 });
  const config = join(options.folder, "config.json");
  // JSON is YAML, so nothing here has to be quoted by hand.
  writeFileSync(
    config,
    JSON.stringify({
      version: 0.1,
      log: { level: "warn", accesslog: { disabled: true } },
      storage: { filesystem: { rootdirectory: join(options.folder, "blobs") }, delete: { enabled: true } },
      http: { addr: host },
      auth: { htpasswd: { realm: "godwit", path: passwordFile } },
    }),
    { mode: 0o600 },
  );
  if (registryBytes(options.folder) > (options.bytesMax ?? REGISTRY_BYTES_MAX)) {
    await collectRegistry(options.folder, config);
  }
  const server = await startServer({
    name: "docker-registry",
    argv: ["docker-registry", "serve", config],
    logFile: options.logFile,
    onSpawn: options.onSpawn,
    ready: async () => {
      const answer = await fetch(`http://${host}/v2/`, { headers: { authorization: `Basic ${basic}` } })
        .catch(() => null); // not up yet; startServer keeps asking, with a limit
      return answer?.status === 200;
    },
  });
  return { ...server, host, authFile };
}
