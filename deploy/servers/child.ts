/** Starts a server program, waits until it answers, and stops it by its own process id. Used by tests and by `up`. */
import { closeSync, fstatSync, openSync } from "node:fs";
import { createServer } from "node:net";
import { GodwitError } from "../../control/contract/errors.ts";

export interface Server {
  readonly pid: number;
  /** SIGTERM or what the server wants instead, then SIGKILL after STOP_WAIT_MS; resolves when the process is gone. */
  stop(): Promise<void>;
  readonly exited: Promise<number>;
}

const STOP_WAIT_MS = 10_000;
const READY_WAIT_MS = 30_000;
const READY_POLL_MS = 20;

export interface ServerCommand {
  readonly name: string;
  readonly argv: string[];
  readonly env?: Record<string, string>;
  readonly cwd?: string;
  /** Receives stdout and stderr. */
  readonly logFile: string;
  /** Resolves true once the server answers; asked every READY_POLL_MS. */
  readonly ready: () => Promise<boolean>;
  /** Hears of the process as soon as it is, so that it can be recorded before it answers. */
  readonly onSpawn?: ((pid: number) => void) | undefined;
  /** @default "SIGTERM" */
  readonly stopSignal?: NodeJS.Signals;
  /** @default READY_WAIT_MS */
  readonly readyWaitMs?: number;
}

export async function startServer(command: ServerCommand): Promise<Server> {
  const log = openSync(command.logFile, "a", 0o600);
  // Before the start: a server that fails at once has said why by the next statement.
  const said = fstatSync(log).size;
  const child = Bun.spawn(command.argv, {
    stdin: "ignore",
    stdout: log,
    stderr: log,
    env: { PATH: process.env.PATH ?? "/usr/bin:/bin", LC_ALL: "C.UTF-8", ...command.env },
    ...(command.cwd === undefined ? {} : { cwd: command.cwd }),
  });
  closeSync(log);
  command.onSpawn?.(child.pid);
  const stop = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill(command.stopSignal ?? "SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), STOP_WAIT_MS);
    await child.exited;
    clearTimeout(timer);
  };
  const deadline = Date.now() + (command.readyWaitMs ?? READY_WAIT_MS);
  while (!await command.ready()) {
    if (child.exitCode !== null || child.signalCode !== null || Date.now() > deadline) {
      await stop();
      const words = await lastLines(command.logFile, said);
      throw new GodwitError("stack.server_not_ready", `${command.name} did not come up${words}`, {
        fault: "us",
        retryable: true,
        hint: `its log is ${command.logFile}`,
      });
    }
    await Bun.sleep(READY_POLL_MS);
  }
  return { pid: child.pid, stop, exited: child.exited };
}

const TAIL_BYTES = 2_048;
const TAIL_LINES = 6;

/** The last of what was written to the log from byte `from` on: what this start said, and no earlier one. */
async function lastLines(file: string, from: number): Promise<string> {
  const log = Bun.file(file);
  const text = (await log.slice(Math.max(from, log.size - TAIL_BYTES)).text()).trim();
  return text === "" ? "" : `; it said:\n${text.split("\n").slice(-TAIL_LINES).join("\n")}`;
}

/** A loopback TCP port that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    });
  });
}

/** 24 random bytes for a generated password, base64url. */
export function newPassword(): string {
  return Buffer.from(crypto.getRandomValues(new Uint8Array(24))).toString("base64url");
}
