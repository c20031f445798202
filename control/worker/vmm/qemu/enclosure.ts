/**
 * What a QEMU sees of its host: its program with its libraries, the guest's kernel, and nothing else. Made as a skeleton of
 * empty files and folders; enclose.pl lays the real ones over it in a mount namespace of the QEMU's own, so that the host
 * sees no mount of it, and nothing is left to unmount when the last process of it ends.
 */
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { assert, GodwitError } from "../../../contract/errors.ts";

export interface Enclosure {
  /** The root of the enclosed process, which can write nothing there. */
  readonly folder: string;
  readonly uid: number;
  /** A name on PATH. */
  readonly program: string;
  /** Files of the host by their names in the root; all may read them. */
  readonly files: Readonly<Record<string, string>>;
  /** Below /dev, beside `null`; the enclosed user gets nodes of its own. */
  readonly devices: readonly string[];
}

const HELPER = join(import.meta.dir, "enclose.pl");
/** Where programs and libraries lie; some of them are links into the first. */
const SYSTEM = ["/usr", "/lib", "/lib64"];
/** Without it the loader finds libraries in its own folders only. */
const LOADER_CACHE = "/etc/ld.so.cache";
const MODE = 0o755;
/** QEMU tries on it whether files can be locked, and where it is missing locks none, its layer included. */
const ALWAYS = ["null"];

/** The command that becomes `program` with these arguments, in an enclosure that is made here. One process from start to end. @throws GodwitError `vmm.command_missing` */
export function enclosed(enclosure: Enclosure, args: readonly string[]): string[] {
  if (Bun.which("perl") === null) {
    throw new GodwitError(
      "vmm.command_missing",
      `Cannot enclose ${enclosure.program}: perl is not installed`,
      {
        fault: "us",
        hint: "`godwit doctor` lists the packages that are needed",
      },
    );
  }
  const program = realpathSync(Bun.which(enclosure.program) ?? enclosure.program);
  makeSkeleton(enclosure, program);
  const { folder, uid, devices } = enclosure;
  return [
    "perl",
    HELPER,
    process.arch,
    folder,
    String(uid),
    [...ALWAYS, ...devices].join(","),
    program,
    ...args,
  ];
}

/** Nothing of the host's is handed on but this. */
export const ENCLOSED_ENVIRONMENT = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C" } as const;

/** Never recursive: nothing is ever mounted here on the host, and if it were, it would stay whole. */
export function removeEnclosure(folder: string): void {
  rmSync(mountsFile(folder), { force: true });
  if (!existsSync(folder)) return;
  rmSync(join(folder, LOADER_CACHE), { force: true });
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) rmdirSync(path);
    else rmSync(path, { force: true });
  }
  rmdirSync(folder);
}

function makeSkeleton({ folder, files }: Enclosure, program: string): void {
  makeFolder(folder);
  const mounts: [from: string, to: string][] = [];
  const top = `/${program.split("/")[1]}`;
  for (const from of new Set([...SYSTEM, top])) {
    const kind = existsSync(from) ? lstatSync(from) : null;
    if (kind?.isSymbolicLink()) symlinkSync(readlinkSync(from), join(folder, from));
    else if (kind?.isDirectory()) {
      makeFolder(join(folder, from));
      mounts.push([from, from.slice(1)]);
    }
  }
  const shared = { ...(existsSync(LOADER_CACHE) && { [LOADER_CACHE.slice(1)]: LOADER_CACHE }), ...files };
  for (const [to, from] of Object.entries(shared)) {
    makeFolder(dirname(join(folder, to)));
    writeFileSync(join(folder, to), "");
    mounts.push([from, to]);
  }
  makeFolder(join(folder, "dev"));
  const lines = mounts.map((mount) => {
    assert(!/[\t\n]/.test(mount.join("")), `${mount[0]} has a tab or a line's end in its name`);
    return `${mount.join("\t")}\n`;
  });
  writeFileSync(mountsFile(folder), lines.join(""), { mode: 0o600 });
}

function mountsFile(folder: string): string {
  return `${folder}.mounts`;
}

/** By chmod, since the agent's umask may keep others out. */
function makeFolder(folder: string): void {
  mkdirSync(folder, { recursive: true });
  chmodSync(folder, MODE);
}
