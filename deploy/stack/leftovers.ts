/**
 * Finds what a stack has on this host by the marks that everything of it carries: names that begin with its prefix, paths
 * below its home or run folder. Works without any record, so it also finds what a killed process left. The functions that
 * decide take text, so that they can be tested; `findLeftovers` reads the system.
 */
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { basename, join } from "node:path";
import type { Home } from "./home.ts";

export interface Leftovers {
  readonly processes: readonly { readonly pid: number; readonly name: string }[];
  readonly links: readonly string[];
  /** `FAMILY NAME`. */
  readonly tables: readonly string[];
  readonly namespaces: readonly string[];
  /** Deepest first. */
  readonly mounts: readonly string[];
  readonly loops: readonly string[];
  /** Deepest first. */
  readonly cgroups: readonly string[];
}

/**
 * Programs that a stack starts. An editor, a shell or a `tail -f` that a person has open in the home names it too and is
 * none of these.
 */
const PROGRAMS =
  /^(bun|bun\.exe|godwit.*|vm-init|postgres|initdb|redis-server|docker-registry|qemu-system-.*|runc.*|skopeo|umoci|buildah|mkfs\..*|mke2fs|unshare)$/;
/** Servers that go to their folder at start; Redis even writes over its arguments. */
const SERVERS = /^(postgres|initdb|redis-server|docker-registry)$/;

export interface ProcessFacts {
  readonly pid: number;
  /** Base name of the executable, and what the process calls itself: Debian's redis-server is redis-check-rdb's file. */
  readonly programs: readonly string[];
  readonly argv: readonly string[];
  readonly cwd: string;
  /** Text of /proc/PID/cgroup. */
  readonly cgroup: string;
}

export function belongsToStack(
  process: ProcessFacts,
  home: Pick<Home, "folder" | "runFolder" | "prefix">,
): boolean {
  if (new RegExp(`/${home.prefix}(?![0-9a-f])`).test(process.cgroup)) return true;
  if (!process.programs.some((name) => PROGRAMS.test(name))) return false;
  const below = (path: string) =>
    [home.folder, home.runFolder].some((folder) => path === folder || path.startsWith(`${folder}/`));
  const named = process.argv.some((word) =>
    [home.folder, home.runFolder].some((folder) => namesFolder(word, folder))
  );
  return named || (process.programs.some((name) => SERVERS.test(name)) && below(process.cwd));
}

/** Whether an argument holds the folder's path as a whole path, not as the beginning of a longer name. */
export function namesFolder(word: string, folder: string): boolean {
  for (let at = word.indexOf(folder); at >= 0; at = word.indexOf(folder, at + 1)) {
    const before = word[at - 1];
    const after = word[at + folder.length];
    if (
      (before === undefined || /[^A-Za-z0-9._/-]/.test(before)) &&
      (after === undefined || /[^A-Za-z0-9._-]/.test(after))
    ) {
      return true;
    }
  }
  return false;
}

/** Mount points of /proc/self/mountinfo (proc(5)) below the folders or named by the prefix, deepest first. */
export function mountsOf(mountinfo: string, home: Pick<Home, "folder" | "runFolder" | "prefix">): string[] {
  const points = mountinfo.split("\n").flatMap((line) => {
    const point = line.split(" ")[4];
    // Blanks and the like stand as octal escapes.
    return point === undefined
      ? []
      : point.replace(/\\([0-7]{3})/g, (_, o) => String.fromCharCode(parseInt(o, 8)));
  });
  return points.filter((point) =>
    [home.folder, home.runFolder].some((folder) => point.startsWith(`${folder}/`)) ||
    basename(point).startsWith(home.prefix)
  ).sort((a, b) => b.length - a.length);
}

export async function findLeftovers(home: Home): Promise<Leftovers> {
  const [links, tables, namespaces, loops] = await Promise.all([
    jsonOf<{ ifname?: string }>(["ip", "-j", "link", "show"]),
    jsonOf<{ nftables?: { table?: { family: string; name: string } }[] }>(["nft", "-j", "list", "tables"]),
    jsonOf<{ name?: string }>(["ip", "-j", "netns", "list"]),
    jsonOf<{ loopdevices?: { name: string; "back-file": string }[] }>(["losetup", "--json", "--list"]),
  ]);
  return {
    processes: stackProcesses(home),
    links: links.flatMap((link) => link.ifname?.startsWith(home.prefix) ? [link.ifname] : []),
    tables: tables.flatMap((answer) => answer.nftables ?? []).flatMap(({ table }) =>
      table?.name.startsWith(home.prefix) ? [`${table.family} ${table.name}`] : []
    ),
    namespaces: namespaces.flatMap((space) => space.name?.startsWith(home.prefix) ? [space.name] : []),
    mounts: mountsOf(readFileSync("/proc/self/mountinfo", "utf8"), home),
    loops: loops.flatMap((answer) => answer.loopdevices ?? [])
      .filter((loop) => loop["back-file"]?.startsWith(`${home.folder}/`)).map((loop) => loop.name),
    cgroups: cgroupsOf(home.prefix),
  };
}

/** How many things are left, and their names for people. */
export function describeLeftovers(left: Leftovers): string[] {
  return [
    ...left.processes.map((p) => `process ${p.pid} (${p.name})`),
    ...left.links.map((name) => `network link ${name}`),
    ...left.tables.map((name) => `nftables table ${name}`),
    ...left.namespaces.map((name) => `network namespace ${name}`),
    ...left.mounts.map((path) => `mount ${path}`),
    ...left.loops.map((name) => `loop device ${name}`),
    ...left.cgroups.map((path) => `cgroup ${path}`),
  ];
}

/** All live processes of the stack, except this one and those that it was started by. */
export function stackProcesses(home: Home): { pid: number; name: string }[] {
  const spared = ancestors(process.pid);
  return readdirSync("/proc").filter((name) => /^\d+$/.test(name)).flatMap((name) => {
    const facts = factsOf(Number(name));
    if (facts === null || spared.has(facts.pid) || !belongsToStack(facts, home)) return [];
    return [{ pid: facts.pid, name: facts.programs[0] ?? "?" }];
  });
}

function factsOf(pid: number): ProcessFacts | null {
  try {
    const exe = readlinkSync(`/proc/${pid}/exe`).replace(/ \(deleted\)$/, "");
    const argv = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
    if (argv.length <= 1 && argv[0] === "") return null; // a kernel thread or a zombie
    return {
      pid,
      programs: [readFileSync(`/proc/${pid}/comm`, "utf8").trim(), basename(exe)],
      argv,
      cwd: readlinkSync(`/proc/${pid}/cwd`),
      cgroup: readFileSync(`/proc/${pid}/cgroup`, "utf8"),
    };
  } catch {
    return null; // it ended while it was read, or is another user's: not ours
  }
}

function ancestors(pid: number): Set<number> {
  const found = new Set<number>();
  for (let at = pid; at > 0 && !found.has(at);) {
    found.add(at);
    try {
      at = Number(/^PPid:\s*(\d+)$/m.exec(readFileSync(`/proc/${at}/status`, "utf8"))?.[1] ?? 0);
    } catch {
      break; // a parent that ended meanwhile has no parent to look at
    }
  }
  return found;
}

const CGROUP_ROOT = "/sys/fs/cgroup";
const CGROUP_DEPTH_MAX = 5;

function cgroupsOf(prefix: string): string[] {
  const found: string[] = [];
  const walk = (folder: string, inside: boolean, depth: number) => {
    if (depth > CGROUP_DEPTH_MAX || !existsSync(folder)) return;
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      if (!entry.isDirectory()) continue;
      const path = join(folder, entry.name);
      const mine = inside || entry.name.startsWith(prefix);
      if (mine) found.push(path);
      walk(path, mine, depth + 1);
    }
  };
  walk(CGROUP_ROOT, false, 0);
  return found.sort((a, b) => b.length - a.length);
}

/** What a command prints as JSON, as a list; empty where it fails or prints nothing (as for "there are none"). */
async function jsonOf<T>(argv: string[]): Promise<T[]> {
  if (Bun.which(argv[0]!) === null) return [];
  const child = Bun.spawn(argv, { stdin: "ignore", stdout: "pipe", stderr: "ignore" });
  const [output, status] = await Promise.all([new Response(child.stdout).text(), child.exited]);
  if (status !== 0 || output.trim() === "") return [];
  const value = JSON.parse(output) as T | T[];
  return Array.isArray(value) ? value : [value];
}
