/** Runs one program of the host to its end, bounded in time and output, and turns its failure into a typed error. */
import { GodwitError } from "../../contract/errors.ts";

const COMMAND_TIMEOUT_MS = 20_000;
const OUTPUT_BYTES_MAX = 65_536;

export interface HostCommandOptions {
  /** What could not be done if it fails: `Cannot PURPOSE: …`. */
  readonly purpose: string;
  readonly cwd?: string;
  /** @default COMMAND_TIMEOUT_MS */
  readonly timeoutMs?: number;
  /** File descriptor for stdout and stderr; then the answer is empty. */
  readonly outputTo?: number;
}

/** stdout. @throws GodwitError `vmm.command_missing`, `vmm.command_failed` */
export async function hostCommand(argv: [string, ...string[]], options: HostCommandOptions): Promise<string> {
  if (Bun.which(argv[0]) === null) {
    throw new GodwitError("vmm.command_missing", `Cannot ${options.purpose}: ${argv[0]} is not installed`, {
      fault: "us",
      hint: "`godwit doctor` lists the packages that are needed",
    });
  }
  const child = Bun.spawn(argv, {
    stdin: "ignore",
    stdout: options.outputTo ?? "pipe",
    stderr: options.outputTo ?? "pipe",
    env: { PATH: process.env.PATH ?? "/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C" },
    timeout: options.timeoutMs ?? COMMAND_TIMEOUT_MS,
    killSignal: "SIGKILL",
    maxBuffer: OUTPUT_BYTES_MAX,
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  const [status, stdout, stderr] = await Promise.all([
    child.exited,
    textOf(child.stdout),
    textOf(child.stderr),
  ]);
  if (status === 0) return stdout;
  const how = child.signalCode === null ? `status ${status}` : child.signalCode;
  const said = stderr.trim().slice(-1_024);
  throw new GodwitError(
    "vmm.command_failed",
    `Cannot ${options.purpose}: ${argv[0]} ended with ${how}${said === "" ? "" : `: ${said}`}`,
    { fault: "us", retryable: true },
  );
}

async function textOf(stream: ReadableStream<Uint8Array> | number | undefined): Promise<string> {
  return stream instanceof ReadableStream ? await new Response(stream).text() : "";
}
