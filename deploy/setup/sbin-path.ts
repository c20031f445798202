/**
 * An ordinary login's PATH lacks the sbin folders, where ip, nft, losetup and mkfs live. Bun looks commands up in the PATH
 * that the process was started with, whatever is assigned later, so the program is started again with the whole one.
 */
import { pathWithSbin } from "./packages.ts";

/** Returns at once where PATH is complete; otherwise runs this program again in its place, and ends with its exit code. */
export async function ensureSbinOnPath(): Promise<void> {
  const path = pathWithSbin(process.env.PATH);
  if (path === process.env.PATH) return;
  const child = Bun.spawn([process.execPath, ...process.argv.slice(1)], {
    stdin: "inherit",
    stdout: "inherit",
    stderr: "inherit",
    env: { ...process.env, PATH: path },
  });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      // A terminal's ctrl-c has reached the child already; a second one does it no harm.
      child.kill(signal);
    });
  }
  process.exit(await child.exited);
}
