/**
 * Runs skopeo: no shell, no inherited environment, a time limit, a bound on what is kept of its
 * output. It dies with the agent (`setpriv --pdeathsig`), so that after a kill -9 it does not go on writing into
 * a folder that the next agent has already removed.
 */
import { GodwitError } from "../../contract/errors.ts";

const STDOUT_BYTES_MAX = 8 * 1_048_576;
const STDERR_BYTES_KEPT = 16_384;
const STALL_POLL_MS = 1_000;

export interface ToolCommand {
  readonly argv: readonly string[];
  /** HOME, TMPDIR and XDG_RUNTIME_DIR of the tool, so that it looks for nobody's credentials and fills no /var/tmp. */
  readonly homeFolder: string;
  readonly tempFolder: string;
  readonly timeoutMs: number;
  readonly progress?: ToolProgress;
}

export interface ToolProgress {
  /** Grows while the tool gets on; the tool is killed when it stands still for `stallMsMax`. */
  readonly bytes: () => Promise<number>;
  readonly stallMsMax: number;
  /** Told no more often than this, and only what is new. */
  readonly everyMs: number;
  readonly onBytes: (bytes: number) => void;
}

export interface ToolResult {
  /** Null when it was killed. */
  readonly status: number | null;
  readonly stdout: Uint8Array<ArrayBuffer>;
  /** The last bytes. */
  readonly stderr: string;
  readonly killed: "timeout" | "stalled" | "output" | null;
}

/** @throws GodwitError `worker.tool_missing` */
export async function runTool(command: ToolCommand): Promise<ToolResult> {
  const child = spawn(command);
  let killed: ToolResult["killed"] = null;
  const kill = (why: NonNullable<ToolResult["killed"]>) => {
    killed ??= why;
    child.kill("SIGKILL");
  };
  const deadline = setTimeout(() => kill("timeout"), command.timeoutMs);
  const stallWatch = command.progress === undefined
    ? null
    : watchStall(command.progress, () => kill("stalled"));
  try {
    const [stdout, stderr, status] = await Promise.all([
      readAll(child.stdout, () => kill("output")),
      readTail(child.stderr),
      child.exited,
    ]);
    return { status: child.signalCode === null ? status : null, stdout, stderr, killed };
  } finally {
    clearTimeout(deadline);
    stallWatch?.();
  }
}

function spawn(command: ToolCommand) {
  const [tool = ""] = command.argv;
  if (Bun.which(tool) === null) {
    throw new GodwitError("worker.tool_missing", `Cannot run ${tool}: it is not installed`, {
      fault: "us",
      hint: "`bun run doctor` lists the packages that Godwit needs",
    });
  }
  return Bun.spawn(["setpriv", "--pdeathsig", "KILL", "--", ...command.argv], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    env: {
      PATH: process.env.PATH ?? "/usr/sbin:/usr/bin:/sbin:/bin",
      LC_ALL: "C.UTF-8",
      HOME: command.homeFolder,
      XDG_RUNTIME_DIR: command.homeFolder,
      TMPDIR: command.tempFolder,
    },
  });
}

function watchStall(progress: ToolProgress, stalled: () => void): () => void {
  let last = -1;
  let since = performance.now();
  let toldAt = performance.now();
  const timer = setInterval(async () => {
    const bytes = await progress.bytes();
    if (bytes !== last) [last, since] = [bytes, performance.now()];
    else if (performance.now() - since > progress.stallMsMax) stalled();
    if (since > toldAt && performance.now() - toldAt >= progress.everyMs) {
      toldAt = performance.now();
      progress.onBytes(bytes);
    }
  }, Math.min(STALL_POLL_MS, progress.stallMsMax));
  return () => clearInterval(timer);
}

async function readAll(stream: ReadableStream<Uint8Array>, tooMuch: () => void) {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of stream) {
    size += chunk.length;
    if (size > STDOUT_BYTES_MAX) tooMuch();
    else chunks.push(chunk);
  }
  return new Uint8Array(Buffer.concat(chunks));
}

async function readTail(stream: ReadableStream<Uint8Array>): Promise<string> {
  let tail = Buffer.alloc(0);
  for await (const chunk of stream) tail = Buffer.concat([tail, chunk]).subarray(-STDERR_BYTES_KEPT);
  return tail.toString("utf8").trim();
}
