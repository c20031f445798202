/** The terminal of whoever sits here, lent to a command far away and always given back. */
import type { TerminalSize } from "../contract/guest-api.ts";

const SIZE_DEFAULT: TerminalSize = { columns: 80, rows: 24 };
const ENDINGS = ["SIGTERM", "SIGHUP"] as const;

export function isTerminal(): boolean {
  return process.stdin.isTTY === true && process.stdout.isTTY === true;
}

export function terminalSize(): TerminalSize {
  const { columns, rows } = process.stdout;
  return columns > 0 && rows > 0 ? { columns, rows } : SIZE_DEFAULT;
}

/** Keys go through as they are while `work` runs, Ctrl-C too; afterwards, however it ended, the terminal is as before. */
export async function withRawTerminal<T>(work: () => Promise<T>): Promise<T> {
  const restore = () => {
    if (process.stdin.isTTY) process.stdin.setRawMode(false);
  };
  const leave = (signal: NodeJS.Signals) => {
    restore();
    process.exit(signal === "SIGHUP" ? 129 : 143);
  };
  process.stdin.setRawMode(true);
  passOutputThrough();
  process.once("exit", restore);
  for (const name of ENDINGS) process.once(name, leave);
  try {
    return await work();
  } finally {
    restore();
    process.off("exit", restore);
    for (const name of ENDINGS) process.off(name, leave);
  }
}

/**
 * Raw mode leaves it to the terminal to turn a line feed into two characters, which the far one has done already; an
 * editor that moves the cursor by line feeds would go astray. Given back with the rest, by `setRawMode(false)`.
 */
function passOutputThrough(): void {
  try {
    Bun.spawnSync(["stty", "-opost"], { stdin: "inherit", stdout: "ignore", stderr: "ignore" });
  } catch {
    // Without stty it is as other raw modes are.
  }
}

/** Calls back at each change of the window, until the answer is called. */
export function onResize(callback: (size: TerminalSize) => void): () => void {
  const changed = () => callback(terminalSize());
  process.stdout.on("resize", changed);
  return () => process.stdout.off("resize", changed);
}

export async function writeTo(stream: NodeJS.WriteStream, bytes: Uint8Array): Promise<void> {
  if (stream.write(bytes)) return;
  await new Promise<void>((resolve) => stream.once("drain", resolve));
}
