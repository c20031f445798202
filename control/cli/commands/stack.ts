/** godwit up | down | status | doctor | edge: handed to programs of the checkout that this command belongs to. */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { GodwitError } from "../../contract/errors.ts";

const STACK_PROGRAM = "deploy/stack/main.ts";

const EDGE_PROGRAM = "edge/main.ts";

/** Resolves to the exit code of the stack's program. */
export function runStack(args: readonly string[]): Promise<number> {
  return runProgram(STACK_PROGRAM, args);
}

/** An edge by itself. Resolves to its exit code. */
export function runEdge(args: readonly string[]): Promise<number> {
  return runProgram(EDGE_PROGRAM, args);
}

async function runProgram(program: string, args: readonly string[]): Promise<number> {
  const checkout = findCheckout([import.meta.dir, dirname(process.execPath), process.cwd()]);
  if (checkout === null) {
    throw new GodwitError(
      "cli.no_checkout",
      "This command needs a checkout of Godwit, and finds none near it",
      {
        fault: "client",
        hint: "run it inside the checkout, or use `bun run up` there",
      },
    );
  }
  const run = async (file: string, more: readonly string[]) => {
    const child = Bun.spawn([process.execPath, join(checkout, file), ...more], {
      stdin: "inherit",
      stdout: "inherit",
      stderr: "inherit",
      // A compiled `godwit` holds Bun and is it when told so.
      env: { ...process.env, BUN_BE_BUN: "1" },
    });
    // ctrl-c reaches the child too, which knows what to do; this command only waits for it.
    const stay = () => {};
    process.on("SIGINT", stay);
    for (const signal of ["SIGTERM", "SIGHUP"] as const) process.on(signal, () => child.kill(signal));
    return await child.exited;
  };
  const status = await run("deploy/setup/bootstrap.ts", []);
  return status === 0 ? await run(program, args) : status;
}

/** The first folder that holds the stack's program, going up from each start. */
export function findCheckout(starts: readonly string[]): string | null {
  for (const start of starts) {
    for (let at = start;; at = dirname(at)) {
      if (existsSync(join(at, STACK_PROGRAM))) return at;
      if (dirname(at) === at) break;
    }
  }
  return null;
}
