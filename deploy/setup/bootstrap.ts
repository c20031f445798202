/**
 * Runs before everything else on a fresh clone, so it imports nothing from npm: makes node_modules match bun.lock. The
 * stamp lies inside node_modules, so removing the folder removes it too. Bun is run by its own path: under `npx` no `bun`
 * stands on the PATH of child processes.
 */
import { createHash } from "node:crypto";
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";

const STAMP = ".godwit-packages";

/** The hash of all that decides what node_modules holds. */
export function packagesHash(root: string): string {
  const hash = createHash("sha256");
  for (const file of ["package.json", "bun.lock"]) hash.update(readFileSync(join(root, file))).update("\0");
  return hash.update(`${process.platform}-${process.arch}`).digest("hex");
}

/** Null where node_modules matches the lock file; otherwise why not. */
export function staleBecause(root: string): string | null {
  const stamp = join(root, "node_modules", STAMP);
  if (!existsSync(join(root, "node_modules"))) return "not installed yet";
  if (!existsSync(stamp)) return "installed by something else";
  return readFileSync(stamp, "utf8").trim() === packagesHash(root) ? null : "bun.lock has changed";
}

/** Installs the locked packages where they are missing or stale. Resolves to the exit code of `bun install`. */
export async function bootstrap(root: string): Promise<number> {
  const reason = staleBecause(root);
  if (reason === null) return 0;
  const started = performance.now();
  process.stderr.write(`· locked packages (${reason}) …\n`);
  const child = Bun.spawn([process.execPath, "install", "--frozen-lockfile"], {
    cwd: root,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [output, errors, status] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (status !== 0) {
    process.stderr.write(
      `✗ locked packages: bun install --frozen-lockfile in ${root} ended with ${status}\n${output}${errors}` +
        "  → check that the package registry can be reached (npm's settings apply), then run the command again\n",
    );
    return status;
  }
  const stamp = join(root, "node_modules", STAMP);
  writeFileSync(`${stamp}.new`, packagesHash(root) + "\n");
  renameSync(`${stamp}.new`, stamp);
  process.stderr.write(`✓ locked packages  ${((performance.now() - started) / 1_000).toFixed(1)} s\n`);
  return 0;
}

if (import.meta.main) process.exit(await bootstrap(resolve(import.meta.dir, "../..")));
