/** Pushes an image that lies on this disk (an OCI image layout, or skopeo's `dir:` format) as it is: digests stay. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { pushError } from "./build-error.ts";
import { runBuildTool } from "./run-build-tool.ts";

export interface RegistryTarget {
  /** `HOST:PORT`. */
  readonly host: string;
  /** containers-auth.json(5). */
  readonly authFile: string;
  /** Speaks plain HTTP; loopback only. */
  readonly insecure: boolean;
}

export interface PushOptions {
  /** `oci:FOLDER:TAG` or `dir:FOLDER`. */
  readonly source: `oci:${string}` | `dir:${string}`;
  /** `NAME[:TAG]` in the registry. */
  readonly name: string;
  readonly registry: RegistryTarget;
  readonly tempFolder: string;
  readonly onLine?: (line: string) => void;
  readonly signal?: AbortSignal;
}

/** Answers the digest and the reference by it. @throws GodwitError `build.push_failed`, `build.push_unauthorized` */
export async function pushLayout(options: PushOptions): Promise<{ ref: string; digest: string }> {
  const { registry, name } = options;
  const work = await mkdtemp(join(options.tempFolder, "push-"));
  try {
    const digestFile = join(work, "digest");
    const result = await runBuildTool([
      "skopeo",
      "copy",
      "--insecure-policy",
      "--all",
      // Also keeps plain layers plain: skopeo would else compress on its way into a registry.
      "--preserve-digests",
      ...["--dest-authfile", registry.authFile, `--dest-tls-verify=${!registry.insecure}`],
      ...["--digestfile", digestFile],
      options.source,
      `docker://${registry.host}/${name}`,
    ], {
      onLine: options.onLine ?? (() => {}),
      tempFolder: work,
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
    if (result.status !== 0) throw pushError(`${registry.host}/${name}`, result);
    const digest = (await readFile(digestFile, "utf8")).trim();
    return { ref: refByDigest(registry.host, name, digest), digest };
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** `HOST/NAME@sha256:…`, the tag left out: a digest says all. */
export function refByDigest(host: string, name: string, digest: string): string {
  return `${host}/${name.replace(/:[^:/]+$/, "")}@${digest}`;
}
