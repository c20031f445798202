/** Runs a tool of the host to its end. Each failure says which tool, with what, and what to do. */
import { GodwitError } from "../../control/contract/errors.ts";

/** Debian's package of each tool that building a guest needs. */
const PACKAGES: Record<string, string> = {
  "apt-get": "apt",
  "apt-cache": "apt",
  "dpkg-deb": "dpkg",
  "mkfs.erofs": "erofs-utils",
  ldd: "libc-bin",
};
const TOOL_WAIT_MS = 300_000;
const SAID_CHARS_MAX = 1_000;

export interface ToolOptions {
  readonly cwd?: string;
}

/** Its stdout. */
export async function runTool(
  argv: readonly [string, ...string[]],
  options: ToolOptions = {},
): Promise<string> {
  const [tool] = argv;
  if (!tool.startsWith("/") && Bun.which(tool) === null) {
    const name = PACKAGES[tool] ?? tool;
    throw new GodwitError("images.tool_missing", `Cannot build the guest's images: ${tool} is not on PATH`, {
      fault: "us",
      hint: `install it: apt-get install ${name}`,
    });
  }
  const child = Bun.spawn([...argv], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, LC_ALL: "C.UTF-8" },
    timeout: TOOL_WAIT_MS,
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  const [stdout, stderr, status] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (status === 0) return stdout;
  throw new GodwitError(
    "images.tool_failed",
    `Cannot build the guest's images: \`${argv.join(" ")}\` ended with ${child.signalCode ?? status}: ${
      stderr.trim().slice(-SAID_CHARS_MAX)
    }`,
    { fault: "us", retryable: true },
  );
}
