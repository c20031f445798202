/**
 * Keeps a registry's disk bounded: while it is stopped, tags beyond the newest few of each repository go, then
 * docker-registry's own garbage collection removes what no tag names any more. Machines do not need what goes: they run
 * from the worker's bases, which are bounded by themselves.
 */
import { existsSync, readdirSync, rmSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { Glob } from "bun";
import { GodwitError } from "../../control/contract/errors.ts";

export const TAGS_KEPT_MAX = 3;
export const REGISTRY_BYTES_MAX = 10 * 1_073_741_824;

/** Bytes of all blobs of a registry's folder. */
export function registryBytes(folder: string): number {
  const blobs = join(folder, "blobs/docker/registry/v2/blobs");
  if (!existsSync(blobs)) return 0;
  let bytes = 0;
  for (const file of new Glob("**/data").scanSync({ cwd: blobs, absolute: true })) {
    try {
      bytes += statSync(file).size;
    } catch {
      // removed between the listing and the look
    }
  }
  return bytes;
}

/** Call it only while no registry serves the folder. */
export async function collectRegistry(folder: string, config: string): Promise<void> {
  const repositories = join(folder, "blobs/docker/registry/v2/repositories");
  if (!existsSync(repositories)) return;
  const parents = new Glob("**/_manifests/tags/*/current/link").scanSync({
    cwd: repositories,
    absolute: true,
  });
  const byRepository = Map.groupBy(
    Array.from(parents, (link) => dirname(dirname(link))),
    (tag) => dirname(tag),
  );
  for (const tags of byRepository.values()) {
    const aged = tags.map((tag) => ({ tag, at: statSync(join(tag, "current/link")).mtimeMs }));
    for (const { tag } of aged.sort((a, b) => b.at - a.at).slice(TAGS_KEPT_MAX)) {
      rmSync(tag, { recursive: true });
    }
  }
  const argv = ["docker-registry", "garbage-collect", "--delete-untagged", config];
  const child = Bun.spawn(argv, { stdin: "ignore", stdout: "ignore", stderr: "pipe" });
  const [status, errors] = await Promise.all([child.exited, new Response(child.stderr).text()]);
  if (status !== 0) {
    throw new GodwitError(
      "stack.registry_collect",
      `Cannot collect the registry's garbage in ${folder}: ${errors.trim().slice(-500)}`,
      { fault: "us", hint: `see what is in ${folder}; nothing of running machines is there` },
    );
  }
  dropEmpty(repositories);
}

/** Repositories without a tag are only folders. */
function dropEmpty(repositories: string): void {
  for (
    const tags of new Glob("**/_manifests/tags").scanSync({
      cwd: repositories,
      absolute: true,
      onlyFiles: false,
    })
  ) {
    if (readdirSync(tags).length === 0) rmSync(dirname(dirname(tags)), { recursive: true });
  }
}
