/**
 * godwit ssh console: a shell, or one command, in a machine of an app. It rides on the API like everything else here: no
 * port of the machine is open for it, and the access token says who may.
 */
import type { TerminalSize } from "../../contract/guest-api.ts";
import { execInMachine } from "../exec-stream.ts";
import { chooseMachine } from "../machine-id.ts";
import type { Session } from "../session.ts";
import { isTerminal, onResize, terminalSize, withRawTerminal, writeTo } from "../terminal.ts";
import { passInterrupts } from "./exec.ts";

export interface ConsoleFlags {
  readonly machine?: string;
  /** Instead of a shell. */
  readonly command?: string;
  readonly user?: string;
  /** A terminal for the command, too. */
  readonly pty?: true;
}

export async function openConsole(session: Session, flags: ConsoleFlags): Promise<void> {
  const api = await session.api();
  const machineId = await chooseMachine(session, api, flags.machine);
  const wish = { shell: flags.command ?? null, user: flags.user ?? null };
  const onOutput = (stream: "stdout" | "stderr", bytes: Uint8Array) => writeTo(process[stream], bytes);
  const run = (terminal: TerminalSize | null) => {
    let stop = () => {};
    return execInMachine(api, machineId, { ...wish, terminal }, {
      stdin: process.stdin,
      onOutput,
      onRunning: (control) => {
        if (terminal === null) return passInterrupts(control);
        stop = onResize((size) => control.resize(size));
        // It may have changed on the way.
        control.resize(terminalSize());
      },
    }).finally(() => stop());
  };
  const wantsTerminal = isTerminal() && (flags.command === undefined || flags.pty === true);
  const exit = wantsTerminal ? await withRawTerminal(() => run(terminalSize())) : await run(null);
  process.exitCode = exit.exit_code;
  process.stdin.destroy();
}
