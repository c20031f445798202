#!/usr/bin/env bun
/** `godwit`, the command line of Godwit. Exit codes: exit-code.ts. */
import { type Command, CommanderError } from "commander";
import { godwitProgram } from "./program.ts";

// What stands behind -- is the command of an image.
const words = process.argv.indexOf("--");
const json = process.argv.slice(2, words < 0 ? undefined : words).includes("--json");
const program = godwitProgram();
process.once("SIGPIPE", () => process.exit(0));
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));

try {
  for (const command of everyCommand(program)) command.exitOverride();
  await program.parseAsync();
} catch (error) {
  await tell(error);
}

function everyCommand(command: Command): Command[] {
  return [command, ...command.commands.flatMap((below) => everyCommand(below as Command))];
}

async function tell(error: unknown): Promise<void> {
  if (error instanceof CommanderError) {
    // Commander has said it already; help and version are no failures.
    process.exitCode = error.exitCode === 0 ? 0 : 2;
    return;
  }
  const [{ exitCodeOf }, { renderError, wireOf }] = await Promise.all([
    import("./exit-code.ts"),
    import("./render-error.ts"),
  ]);
  if (json) process.stdout.write(`${JSON.stringify({ error: wireOf(error) })}\n`);
  else process.stderr.write(`${renderError(error)}\n`);
  process.exitCode = exitCodeOf(error);
}
