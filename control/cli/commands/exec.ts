/** godwit machine exec ID COMMAND…: one command in a machine, its output and exit code as if it ran here. */
import { GodwitError } from "../../contract/errors.ts";
import { EXEC_OUTPUT_BYTES_MAX } from "../../contract/guest-limits.ts";
import { type ExecControl, execInMachine, type ExecIo } from "../exec-stream.ts";
import { checkedMachineId } from "../machine-id.ts";
import type { Session } from "../session.ts";
import { writeTo } from "../terminal.ts";

export interface ExecFlags {
  readonly user?: string;
  readonly cwd?: string;
  readonly env?: string[];
  readonly timeout?: number;
  /** Pass this process's stdin on. */
  readonly stdin?: true;
}

export async function execCommand(
  session: Session,
  id: string,
  words: readonly string[],
  flags: ExecFlags,
): Promise<void> {
  const machineId = checkedMachineId(id);
  if (words.length === 0) {
    throw new GodwitError("cli.no_command", "Which command?", {
      fault: "client",
      hint: `godwit machine exec ${id} ls /; a whole session: godwit ssh console --machine ${id}`,
    });
  }
  const { json } = session.flags;
  const outputs = { stdout: [] as Uint8Array[], stderr: [] as Uint8Array[] };
  const io: ExecIo = {
    stdin: flags.stdin ? process.stdin : null,
    onOutput: async (stream, bytes) => {
      if (json) outputs[stream].push(Uint8Array.from(bytes));
      else await writeTo(process[stream], bytes);
    },
    onRunning: passInterrupts,
  };
  const exit = await execInMachine(await session.api(), machineId, {
    ...commandOf(words),
    user: flags.user ?? null,
    cwd: flags.cwd ?? null,
    env: envOf(flags.env ?? []),
    timeout_ms: flags.timeout === undefined ? null : flags.timeout * 1_000,
    output_bytes_max: json ? EXEC_OUTPUT_BYTES_MAX : null,
  }, io);
  if (json) {
    const text = (chunks: Uint8Array[]) => Buffer.concat(chunks).toString();
    const { exit_code, signal, timed_out, stdout_lost_bytes, stderr_lost_bytes } = exit;
    const result = {
      machine: machineId,
      exit_code,
      signal,
      timed_out,
      stdout: text(outputs.stdout),
      stderr: text(outputs.stderr),
      truncated: stdout_lost_bytes + stderr_lost_bytes > 0,
    };
    process.stdout.write(`${JSON.stringify(result)}\n`);
  } else if (exit.timed_out) {
    process.stderr.write(`godwit: the command was killed after ${flags.timeout} s\n`);
  }
  process.exitCode = exit.exit_code;
  process.stdin.destroy();
}

/** Pure: one word with blanks in it is a line for a shell, as `ssh HOST 'ls -l'` takes it. */
export function commandOf(words: readonly string[]): { argv: string[] | null; shell: string | null } {
  const [only] = words;
  if (words.length === 1 && /\s/.test(only!.trim())) return { argv: null, shell: only! };
  return { argv: [...words], shell: null };
}

/** Ctrl-C is the command's; a second one leaves. */
export function passInterrupts(control: ExecControl): void {
  process.once("SIGINT", () => {
    control.signal("SIGINT");
    process.once("SIGINT", () => process.exit(130));
  });
}

export function envOf(pairs: readonly string[]): Record<string, string> {
  return Object.fromEntries(pairs.map((pair) => {
    const equals = pair.indexOf("=");
    if (equals > 0) return [pair.slice(0, equals), pair.slice(equals + 1)];
    throw new GodwitError("cli.env_invalid", `${JSON.stringify(pair)} is not NAME=VALUE`, {
      fault: "client",
    });
  }));
}
