/**
 * Makes the build context of the example: the server compiled to one binary, with the libraries that `ldd` names, beside the
 * Dockerfile. Kept in a folder named by the hash of what went in, so that a second call takes no time.
 */
import { createHash } from "node:crypto";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { GodwitError } from "../../control/contract/errors.ts";

const sources = ["build.ts", "server.ts", "page.ts", "pattern.ts", "Dockerfile"];
const COMPILE_MS_MAX = 120_000;

/** `folder` is a cache: contexts of older sources are removed from it. */
export async function prepareExample(folder: string): Promise<{ contextFolder: string; dockerfile: string }> {
  const key = sourceHash();
  const contextFolder = join(folder, `example-${key}`);
  const result = { contextFolder, dockerfile: join(contextFolder, "Dockerfile") };
  if (existsSync(contextFolder)) return result;
  mkdirSync(folder, { recursive: true });
  const work = mkdtempSync(join(folder, `work-${process.pid}-`));
  try {
    const binary = join(work, "root", "app", "server");
    mkdirSync(dirname(binary), { recursive: true });
    await compile(binary);
    for (const library of await librariesOf(binary)) {
      // At the very path that the binary names, with the file itself in place of Debian's symlink.
      cpSync(realpathSync(library), join(work, "root", library), { recursive: true });
    }
    cpSync(join(import.meta.dir, "Dockerfile"), join(work, "Dockerfile"));
    if (!existsSync(contextFolder)) renameSync(work, contextFolder);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  for (const name of readdirSync(folder)) {
    const old = name.startsWith("example-") && name !== `example-${key}`;
    const pid = /^work-(\d+)-/.exec(name)?.[1]; // of a process that was killed before it could clean up
    const dead = pid !== undefined && !existsSync(`/proc/${pid}`);
    if (old || dead) rmSync(join(folder, name), { recursive: true, force: true });
  }
  return result;
}

function sourceHash(): string {
  const hash = createHash("sha256").update(`${Bun.version} ${process.arch}`);
  for (const name of sources) hash.update(`\0${name}\0`).update(readFileSync(join(import.meta.dir, name)));
  return hash.digest("hex").slice(0, 16);
}

async function compile(binary: string): Promise<void> {
  // bytecode needs ESM to be named in Bun 1.4; without it a start costs the parsing of all of the source.
  const flags = ["--compile", "--minify", "--bytecode", "--format=esm"];
  await run([process.execPath, "build", ...flags, join(import.meta.dir, "server.ts"), "--outfile", binary]);
}

/** Absolute paths, the loader included. */
async function librariesOf(binary: string): Promise<string[]> {
  const lines = (await run(["ldd", binary])).split("\n");
  const paths = lines.flatMap((line) => /(?:=>\s*)?(\/\S+) \(0x[0-9a-f]+\)/.exec(line)?.[1] ?? []);
  if (paths.length === 0) throw failed("ldd", `found no library of ${binary}`);
  return paths;
}

async function run(argv: string[]): Promise<string> {
  const child = Bun.spawn(argv, { stdin: "ignore", stdout: "pipe", stderr: "pipe", timeout: COMPILE_MS_MAX });
  const [out, err, status] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (status !== 0) throw failed(argv.slice(0, 2).join(" "), err.trim().slice(-1_000) || `status ${status}`);
  return out;
}

function failed(what: string, why: string): GodwitError {
  return new GodwitError("example.not_built", `Cannot build the example app: ${what}: ${why}`, {
    fault: "us",
    hint: "run `bun run doctor`; it needs 500 MB of free disk",
  });
}
