/**
 * A file out of a Debian package, fetched with apt but never installed: a kernel would become a boot kernel of the host,
 * busybox-static would push the host's own busybox out. Unpacked once a package version, kept below `folder`.
 */
import { mkdir, mkdtemp, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { GodwitError, messageOf } from "../../control/contract/errors.ts";
import { runTool } from "./run-tool.ts";

const VERSIONS_KEPT_MAX = 2;

export interface DebianPackage {
  /** `linux-image-6.1.0-56-cloud-amd64` */
  readonly name: string;
  readonly version: string;
}

export interface Wanted {
  /** Reads what `apt-cache show` prints of `ask`. */
  readonly ask: string;
  readonly read: (shown: string) => DebianPackage | null;
  /** What every version's package name begins with. */
  readonly prefix: string;
  /** Of what `keep` takes out of it: another variant is provided beside it. */
  readonly variant?: string;
  /** Puts what is needed of the unpacked package into `target`, which exists. */
  readonly keep: (found: DebianPackage, tree: string, target: string) => Promise<void>;
}

export interface Provided {
  /** Name and version, as a folder name. */
  readonly id: string;
  readonly folder: string;
}

/** What apt would install now, from the cache below `folder` or the network. */
export async function providePackage(
  folder: string,
  wanted: Wanted,
  onStep: (line: string) => void,
): Promise<Provided> {
  await mkdir(folder, { recursive: true });
  let known: DebianPackage;
  try {
    known = await find(wanted, onStep);
  } catch (error) {
    const cached = (await readdir(folder)).filter((name) => name.startsWith(wanted.prefix)).sort().at(-1);
    if (cached === undefined) throw error;
    onStep(`apt does not know ${wanted.ask} (${messageOf(error)}); going on with ${cached}`);
    return { id: cached, folder: join(folder, cached) };
  }
  const variant = wanted.variant === undefined ? "" : `_${wanted.variant}`;
  const id = `${known.name}_${known.version.replaceAll(":", "%3a")}${variant}`;
  const provided = { id, folder: join(folder, id) };
  if (await exists(provided.folder)) return provided;
  const work = await mkdtemp(join(folder, "work-"));
  try {
    await download(known, work, onStep);
    const tree = join(work, "tree");
    const target = join(work, "kept");
    await mkdir(target);
    await runTool(["dpkg-deb", "-x", join(work, await debOf(known, work)), tree]);
    await wanted.keep(known, tree, target);
    await rename(target, provided.folder);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  await dropOld(folder, wanted.prefix, id);
  return provided;
}

async function find(wanted: Wanted, onStep: (line: string) => void): Promise<DebianPackage> {
  const show = async () => {
    try {
      return wanted.read(await runTool(["apt-cache", "show", "--no-all-versions", wanted.ask]));
    } catch (error) {
      // apt-cache fails where it has no lists; then there are some to fetch.
      if (error instanceof GodwitError && error.code === "images.tool_failed") return null;
      throw error;
    }
  };
  const known = await show();
  if (known !== null) return known;
  await updateLists(onStep);
  const found = await show();
  if (found !== null) return found;
  throw new GodwitError("images.package_unknown", `Cannot find Debian's package ${wanted.ask} with apt`, {
    fault: "us",
    hint: "give apt a Debian bookworm source (main), then run it again",
  });
}

async function updateLists(onStep: (line: string) => void): Promise<void> {
  onStep("fetching apt's package lists");
  await network("apt's package lists", () => runTool(["apt-get", "update", "-q"]));
}

async function download(known: DebianPackage, work: string, onStep: (line: string) => void): Promise<void> {
  onStep(`fetching ${known.name} ${known.version}`);
  const versioned = `${known.name}=${known.version}`;
  // As root itself: the user _apt cannot reach into the folders of root.
  const fetch = () =>
    runTool(["apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", versioned], { cwd: work });
  try {
    await fetch();
  } catch {
    // The lists may be older than the mirror: once more with fresh ones, and that failure counts.
    await updateLists(onStep);
    await network(known.name, fetch);
  }
}

async function network(what: string, work: () => Promise<string>): Promise<void> {
  try {
    await work();
  } catch (error) {
    throw new GodwitError("images.download_failed", `Cannot fetch ${what}: ${messageOf(error)}`, {
      fault: "us",
      retryable: true,
      hint: "check that apt reaches its mirrors: apt-get update",
      cause: error,
    });
  }
}

async function debOf(known: DebianPackage, work: string): Promise<string> {
  const deb = (await readdir(work)).find((name) => name.endsWith(".deb"));
  if (deb !== undefined) return deb;
  throw new GodwitError("images.download_failed", `Cannot find the .deb of ${known.name}`, { fault: "us" });
}

async function dropOld(folder: string, prefix: string, keep: string): Promise<void> {
  const names = await readdir(folder);
  // What a killed builder left; the caller's lock says that nobody works in it.
  for (const name of names.filter((name) => name.startsWith("work-"))) {
    await rm(join(folder, name), { recursive: true, force: true });
  }
  const others = names.filter((name) => name.startsWith(prefix) && name !== keep);
  const aged = await Promise.all(
    others.map(async (name) => ({ name, at: (await stat(join(folder, name))).mtimeMs })),
  );
  const old = aged.sort((a, b) => b.at - a.at).slice(VERSIONS_KEPT_MAX - 1);
  for (const { name } of old) await rm(join(folder, name), { recursive: true, force: true });
}

export async function exists(path: string): Promise<boolean> {
  return await stat(path).then(() => true, () => false);
}
