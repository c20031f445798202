/** What of a stack runs now. */
import { MachineList } from "../../control/contract/worker-api.ts";
import { readCli } from "./cli-file.ts";
import type { Home } from "./home.ts";
import { readHomeRecord } from "./home-record.ts";
import { liveRecords } from "./identity.ts";
import { planPorts } from "./ports.ts";
import { askSupervisor } from "./supervisor-client.ts";
import type { PartStatus } from "./supervisor.ts";

const ANSWER_WAIT_MS = 3_000;

export interface StackStatus {
  /** `broken`: some processes run and nothing watches them. */
  readonly state: "none" | "stopped" | "starting" | "running" | "failed" | "stopping" | "broken";
  readonly home: string;
  readonly app_url: string | null;
  readonly api_url: string | null;
  readonly parts: readonly PartStatus[];
  /** Null where the worker does not answer. */
  readonly machines: readonly { id: string; app: string; state: string; vmm: string }[] | null;
}

export async function stackStatus(home: Home): Promise<StackStatus> {
  const record = readHomeRecord(home);
  const supervisor = await askSupervisor(home);
  const ports = record === null ? null : planPorts(record.port_base);
  const state = supervisor !== null
    ? supervisor.state
    : liveRecords(home.runFolder).length > 0
    ? "broken"
    : record === null
    ? "none"
    : "stopped";
  return {
    state,
    home: home.folder,
    app_url: ports === null || record?.example === null ? null : `http://example.localhost:${ports.edge}/`,
    api_url: readCli(home)?.api_url ?? (ports === null ? null : `http://127.0.0.1:${ports.api}`),
    parts: supervisor?.parts ?? [],
    machines: await machinesOf(home),
  };
}

async function machinesOf(home: Home): Promise<StackStatus["machines"]> {
  try {
    const answer = await fetch("http://worker/v1/machines", {
      unix: home.workerSocket,
      signal: AbortSignal.timeout(ANSWER_WAIT_MS),
    });
    return MachineList.parse(await answer.json()).machines
      .map((machine) => ({ id: machine.id, app: machine.app_name, state: machine.state, vmm: machine.vmm }));
  } catch {
    return null; // not running, or not answering: the status says so
  }
}

export function renderStatus(status: StackStatus): string {
  const lines = [`Godwit in ${status.home}: ${status.state}`];
  for (const part of status.parts) {
    const restarts = part.restarts === 0 ? "" : `, started again ${part.restarts} times`;
    const error = part.error === null ? "" : `: ${part.error.message}`;
    lines.push(
      `  ${part.name.padEnd(10)} ${part.state}${
        part.pid === null ? "" : ` (pid ${part.pid})`
      }${restarts}${error}`,
    );
  }
  for (const machine of status.machines ?? []) {
    lines.push(`  machine ${machine.id} of ${machine.app}: ${machine.state} (${machine.vmm})`);
  }
  if (status.state === "running") {
    lines.push(`  apps ${status.app_url ?? "none yet"}`, `  API  ${status.api_url}`);
  }
  if (status.state === "broken") {
    lines.push("  → nothing watches these processes: run `bun run up` or `bun run down`");
  }
  return lines.join("\n");
}
