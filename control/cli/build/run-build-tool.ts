/**
 * Runs buildah or skopeo in PID and mount namespaces of its own: whatever ends the build (an abort, a kill -9 of the CLI)
 * ends all of its processes, and no mount of theirs is ever seen by the host or stands in the way of removing the storage.
 */
import { GodwitError } from "../../contract/errors.ts";

/** A build step may compile for long; a tool that hangs must end at some time. */
const TOOL_MS_MAX = 60 * 60_000;
const LINES_KEPT = 20;
const LINE_CHARACTERS_MAX = 2_000;

export interface BuildToolResult {
  /** Null when it was killed. */
  readonly status: number | null;
  readonly stdout: string;
  /** The last lines of stdout and stderr together. */
  readonly lastLines: readonly string[];
}

export interface BuildToolOptions {
  readonly onLine: (line: string) => void;
  readonly signal?: AbortSignal;
  /** For TMPDIR. */
  readonly tempFolder: string;
  readonly env?: Record<string, string>;
}

/** @throws GodwitError `build.tool_missing`, `build.aborted`, `build.timed_out` */
export async function runBuildTool(
  argv: readonly string[],
  options: BuildToolOptions,
): Promise<BuildToolResult> {
  const [tool = ""] = argv;
  if (Bun.which(tool) === null) {
    throw new GodwitError("build.tool_missing", `Cannot build: ${tool} is not installed`, {
      fault: "us",
      hint: "`bun run doctor` lists the packages that Godwit needs",
    });
  }
  if (options.signal?.aborted) throw aborted();
  const isolation = ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"];
  const child = Bun.spawn(["setpriv", "--pdeathsig", "KILL", "--", ...isolation, "--", ...argv], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    env: {
      PATH: process.env.PATH ?? "/usr/sbin:/usr/bin:/sbin:/bin",
      LC_ALL: "C.UTF-8",
      HOME: options.tempFolder,
      TMPDIR: options.tempFolder,
      ...options.env,
    },
  });
  let late = false;
  const abort = () => child.kill("SIGKILL");
  const limit = setTimeout(() => {
    late = true;
    abort();
  }, TOOL_MS_MAX);
  options.signal?.addEventListener("abort", abort, { once: true });
  const lastLines: string[] = [];
  const keep = (line: string) => {
    lastLines.push(line);
    if (lastLines.length > LINES_KEPT) lastLines.shift();
    options.onLine(line);
  };
  try {
    const stdout: string[] = [];
    await Promise.all([
      eachLine(child.stdout, (line) => {
        stdout.push(line);
        if (stdout.length > LINES_KEPT) stdout.shift();
        keep(line);
      }),
      eachLine(child.stderr, keep),
      child.exited,
    ]);
    if (late) {
      throw new GodwitError(
        "build.timed_out",
        `Cannot build: ${tool} took longer than ${TOOL_MS_MAX / 60_000} minutes`,
        {
          fault: "client",
          hint: "look for a step that waits for something that never comes",
        },
      );
    }
    if (options.signal?.aborted) throw aborted();
    return {
      status: child.signalCode === null ? child.exitCode : null,
      stdout: stdout.join("\n"),
      lastLines,
    };
  } finally {
    clearTimeout(limit);
    options.signal?.removeEventListener("abort", abort);
  }
}

function aborted(): GodwitError {
  return new GodwitError("build.aborted", "The build was ended before it was done", {
    fault: "client",
    retryable: true,
  });
}

/** Lines as they come; a line that does not end is cut. */
export async function eachLine(
  stream: ReadableStream<Uint8Array>,
  onLine: (line: string) => void,
): Promise<void> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split(/\r?\n/);
    rest = (parts.pop() ?? "").slice(0, LINE_CHARACTERS_MAX);
    for (const line of parts) onLine(line.slice(0, LINE_CHARACTERS_MAX));
  }
  if (rest !== "") onLine(rest);
}
