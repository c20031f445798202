/** A stack of the benchmark's own, in a temporary home, started and ended as a user would. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ApiClient } from "../../control/cli/api-client.ts";
import { GodwitError } from "../../control/contract/errors.ts";
import { isFree, PORT_COUNT } from "../stack/ports.ts";

export interface OwnStack {
  readonly api: ApiClient;
  readonly appUrl: URL;
  readonly home: string;
}

const program = join(import.meta.dir, "../stack/main.ts");
/** Below the ephemeral ports of ip_local_port_range. */
const portsFrom = 20_000;
const portsTo = 30_000;
const triesMax = 50;

/** Runs `work` on a fresh stack, and takes the stack down whatever happens, ctrl-c included. */
export async function withOwnStack<T>(
  portBase: number | null,
  say: (line: string) => void,
  work: (stack: OwnStack) => Promise<T>,
): Promise<T> {
  const home = mkdtempSync(join(tmpdir(), "godwit-bench-"));
  const interrupted = Promise.withResolvers<never>();
  const onSignal = () =>
    interrupted.reject(new GodwitError("bench.interrupted", "Interrupted", { fault: "client" }));
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, onSignal);
  try {
    const base = portBase ?? await freeBase();
    say(`starting a stack in ${home}, ports from ${base}`);
    const up = ["up", "--detach", "--json", "--no-install", "--vmm", "qemu", "--port-base", String(base)];
    const answer = JSON.parse(await stackCommand(home, up)) as {
      api_url: string;
      app_url: string;
      token: string;
    };
    const api = new ApiClient({ url: answer.api_url, token: answer.token });
    return await Promise.race([work({ api, appUrl: new URL(answer.app_url), home }), interrupted.promise]);
  } finally {
    process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
    say("taking the stack down");
    await stackCommand(home, ["down", "--purge", "--yes", "--json"]);
    rmSync(home, { recursive: true, force: true });
  }
}

/** The last line of its stdout; its progress goes to our stderr. */
async function stackCommand(home: string, argv: string[]): Promise<string> {
  const child = Bun.spawn([process.execPath, program, ...argv], {
    env: { ...process.env, GODWIT_HOME: home },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const output = await new Response(child.stdout).text();
  const status = await child.exited;
  const last = output.trim().split("\n").at(-1) ?? "";
  if (status === 0) return last;
  throw new GodwitError(
    "bench.stack_failed",
    `\`${argv[0]}\` of the benchmark's stack ended with ${status}: ${last}`,
    {
      fault: "us",
      hint: `its home is ${home}`,
    },
  );
}

async function freeBase(): Promise<number> {
  for (let tried = 0; tried < triesMax; tried++) {
    const base = portsFrom + Math.floor(Math.random() * (portsTo - portsFrom));
    const free = await Promise.all(Array.from({ length: PORT_COUNT }, (_, i) => isFree(base + i)));
    if (free.every(Boolean)) return base;
  }
  throw new GodwitError("bench.no_ports", `Found no ${PORT_COUNT} free ports in a row on 127.0.0.1`, {
    fault: "us",
    hint: "name some with --port-base",
  });
}
