/** The end of a stack: machines, then servers, then everything that carries its marks; and a look that nothing is left. */
import { existsSync, rmSync } from "node:fs";
import { GodwitError } from "../../control/contract/errors.ts";
import { removeNetwork } from "../../control/worker/network/network.ts";
import { whichCommand } from "../setup/packages.ts";
import { endProcess, liveRecords } from "./identity.ts";
import type { Home } from "./home.ts";
import type { Steps } from "./steps.ts";
import { stopSupervisor } from "./supervisor-client.ts";
import { sweep } from "./sweep.ts";

/** Each machine gets its own stop timeout, all at once. */
const MACHINES_STOP_WAIT_MS = 60_000;
const ANSWER_WAIT_MS = 5_000;

export interface DownAnswer {
  readonly was_running: boolean;
  /** What had to be cleared away beyond an orderly stop. */
  readonly swept: readonly string[];
}

export async function takeDown(
  home: Home,
  steps: Steps,
  also: { purge: boolean } = { purge: false },
): Promise<DownAnswer> {
  const wasRunning = liveRecords(home.runFolder).length > 0;
  if (existsSync(home.workerSocket) && wasRunning) await steps.run("machines", () => stopMachines(home));
  if (wasRunning) await steps.run("servers", () => endServers(home));
  const swept = await steps.run("sweep", async () => {
    await restoreInterfaces(home);
    const { removed, left } = await sweep(home);
    if (left.length > 0) {
      throw new GodwitError(
        "stack.not_clean",
        `Could not remove all of ${home.folder}:\n${left.join("\n")}`,
        {
          fault: "us",
          retryable: true,
          hint: "run `bun run down` again as root; what stays then has to be removed by hand",
        },
      );
    }
    return removed;
  });
  if (also.purge) await steps.run("purge", async () => purge(home));
  // Last, because the lock lies in it.
  rmSync(home.runFolder, { recursive: true, force: true });
  return { was_running: wasRunning, swept };
}

/** Puts back what the worker changed on interfaces that are not the stack's; its own table remembers what that was. */
async function restoreInterfaces(home: Home): Promise<void> {
  if (process.getuid?.() !== 0 || whichCommand("nft") === null || whichCommand("ip") === null) return;
  await removeNetwork(home.prefix);
}

/** The worker stops its machines and remembers that they are to run; without it the sweep ends them the hard way. */
async function stopMachines(home: Home): Promise<string> {
  const answer = await fetch("http://worker/v1/shutdown", {
    unix: home.workerSocket,
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ timeout_s: MACHINES_STOP_WAIT_MS / 1_000 }),
    signal: AbortSignal.timeout(MACHINES_STOP_WAIT_MS + ANSWER_WAIT_MS),
  }).catch(() => null); // the agent is gone or stuck: the sweep takes its machines down
  return answer?.ok === true ? "" : "the worker does not answer; its machines are ended without it";
}

/** Ends supervisor and servers, orderly where possible; machines run on. */
export async function endServers(home: Home): Promise<string> {
  const orderly = await stopSupervisor(home);
  const rest = liveRecords(home.runFolder).filter((record) => !orderly || record.name !== "supervisor");
  for (const record of rest) await endProcess(record);
  return rest.length === 0 ? "" : `ended one by one: ${rest.map((record) => record.name).join(", ")}`;
}

/** Removes the home itself. Only a folder that says it is one. */
function purge(home: Home): void {
  if (!existsSync(home.recordFile)) {
    throw new GodwitError("home.not_a_home", `Not removing ${home.folder}: it holds no home.json`, {
      fault: "client",
      hint: "check GODWIT_HOME",
    });
  }
  rmSync(home.folder, { recursive: true, force: true });
}
