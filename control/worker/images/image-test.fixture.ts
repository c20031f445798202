/** What the tests of this folder share: a store in a folder of its own, and a look into a base. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GodwitError } from "../../contract/errors.ts";
import { type ImageStore, type ImageStoreOptions, openImageStore } from "./image-store.ts";

export interface TestStore {
  readonly folder: string;
  readonly store: ImageStore;
  /** Opens the same folder again, as a restarted agent does. */
  reopen(more?: Partial<ImageStoreOptions>): Promise<ImageStore>;
  /** Of published images. */
  bases(): string[];
  /** Of what is under way or half made. */
  leftovers(): string[];
  remove(): void;
}

export async function openTestStore(more: Partial<ImageStoreOptions> = {}): Promise<TestStore> {
  const folder = mkdtempSync(join(tmpdir(), "godwit-images-"));
  const options: ImageStoreOptions = {
    folder: join(folder, "images"),
    runFolder: join(folder, "run"),
    auth_file: null,
    insecure_registries: [],
    cache_mb_max: 1_024,
    image_mb_max: 64,
    files_max: 1_000,
    ...more,
  };
  return {
    folder,
    store: await openImageStore(options),
    reopen: (again = {}) => openImageStore({ ...options, ...again }),
    bases: () => readdirSync(join(options.folder, "bases")),
    leftovers: () => readdirSync(join(options.folder, "work")),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** The GodwitError of a call that must fail. */
export async function failureOf(call: Promise<unknown>): Promise<GodwitError> {
  const outcome = await call.then((value) => ({ value }), (error: unknown) => ({ error }));
  if ("error" in outcome && outcome.error instanceof GodwitError) return outcome.error;
  throw new Error(`no GodwitError but ${Bun.inspect(outcome)}`);
}

/** Runs `look` with the base mounted read-only at a folder. */
export async function withMounted<T>(file: string, look: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "godwit-base-"));
  await sh(["mount", "-t", "erofs", "-o", "ro,loop", file, folder]);
  try {
    return await look(folder);
  } finally {
    await sh(["umount", folder]);
    rmSync(folder, { recursive: true });
  }
}

/** Runs `work` with a tmpfs of so many MB mounted at the folder. */
export async function withSmallDisk<T>(mb: number, work: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "godwit-small-"));
  mkdirSync(folder, { recursive: true });
  await sh(["mount", "-t", "tmpfs", "-o", `size=${mb}m`, "tmpfs", folder]);
  try {
    return await work(folder);
  } finally {
    await sh(["umount", folder]);
    rmSync(folder, { recursive: true });
  }
}

/** One line a file: type, mode, owner, size or target, link count, name. */
export async function listTree(folder: string): Promise<string[]> {
  const format = "%y %m %U:%G %s %n %l %P\\n";
  const out = await sh(
    ["find", folder, "-mindepth", "1", "(", "-type", "d", "-printf", "d %m %U:%G %P\\n", "-o"]
      .concat(["-printf", format, ")"]),
  );
  return out.trim().split("\n").filter((line) => line !== "").sort();
}

/**
 * Everything that a file system tells of each file, with a hash of its content: two equal lists are two equal trees. Hard
 * links show by the first name of the same inode. Times only where the archive gives them, which `withTimes` says.
 */
export async function describeTree(
  folder: string,
  withTimes: (name: string) => boolean = () => true,
): Promise<string[]> {
  const out = await sh(["python3", "-c", DESCRIBE, folder]);
  return out.trim().split("\n").filter((line) => line !== "").map((line) => {
    const [name = "", mtime = "", ...rest] = JSON.parse(line) as string[];
    return [name, withTimes(name) ? mtime : "-", ...rest].join(" ");
  }).sort();
}

const DESCRIBE = `
import hashlib, json, os, stat, sys
first = {}
for folder, folders, files in os.walk(os.fsencode(sys.argv[1])):
    folders.sort()
    for name in sorted(folders + files):
        path = os.path.join(folder, name)
        s = os.lstat(path)
        short = os.path.relpath(path, os.fsencode(sys.argv[1])).decode("latin1")
        is_folder = stat.S_ISDIR(s.st_mode)
        what = ""
        if stat.S_ISREG(s.st_mode): what = hashlib.sha256(open(path, "rb").read()).hexdigest()
        if stat.S_ISLNK(s.st_mode): what = os.readlink(path).decode("latin1")
        if stat.S_ISCHR(s.st_mode) or stat.S_ISBLK(s.st_mode): what = f"{os.major(s.st_rdev)}:{os.minor(s.st_rdev)}"
        xattrs = {n: os.getxattr(path, n, follow_symlinks=False).hex() for n in sorted(os.listxattr(path, follow_symlinks=False))}
        same = first.setdefault(s.st_ino, short)
        # A folder's size and link count are its file system's own affair.
        print(json.dumps([short, str(s.st_mtime_ns), oct(s.st_mode), f"{s.st_uid}:{s.st_gid}",
            "" if is_folder else str(s.st_size), "" if is_folder else str(s.st_nlink), same, what, json.dumps(xattrs)]))
`;

export async function sh(argv: string[]): Promise<string> {
  const child = Bun.spawn(argv, { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  const [out, err, status] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (status !== 0) throw new Error(`${argv.join(" ")}: ${err}`);
  return out;
}
