/** Puts into words why a machine that was to run does not: the sentence a developer reads when a deploy has failed. */
import { GodwitError } from "../contract/errors.ts";
import type { LogLine } from "../contract/events.ts";
import type { MachineView } from "../contract/machine.ts";
import { QUERY_TIMEOUT_MS, type WorkerClient } from "../place/worker-client.ts";

export const LAST_LINES_MAX = 10;
export const LAST_LINE_CHARS_MAX = 300;
/** For a machine that is on its way down to come to rest: only then its worker knows how it ended. */
export const SETTLE_WAIT_S = 15;

export async function machineEnded(client: WorkerClient, seen: MachineView): Promise<GodwitError> {
  let view = seen;
  let lines: LogLine[] = [];
  try {
    if (view.state === "stopping") {
      view = await client.wait(view.id, ["stopped", "failed", "destroyed"], SETTLE_WAIT_S);
    }
    lines = await client.lastLogLines(view.id, LAST_LINES_MAX, { timeoutMs: QUERY_TIMEOUT_MS });
  } catch (error) {
    // A reason without its last lines is worth more than an error about the lines.
    if (!(error instanceof GodwitError)) throw error;
  }
  // Of Godwit's own words the reason is already one.
  return describeEnd(view, lines.filter((line) => line.stream !== "system"));
}

export function describeEnd(
  view: Pick<MachineView, "id" | "state" | "guest" | "last_exit" | "reason">,
  lines: readonly Pick<LogLine, "line">[],
): GodwitError {
  const exit = view.last_exit;
  const words = lastWords(lines);
  if (exit?.oom_killed === true) {
    return new GodwitError(
      "release.machine_out_of_memory",
      `Machine ${view.id} ran out of memory: its process was killed with ${view.guest.memory_mb} MB${words}`,
      { fault: "app", hint: "Deploy with a larger guest, or make the app use less memory." },
    );
  }
  if (exit !== null && exit.exit_code !== null && exit.reason === null) {
    const how = exit.signal === null ? `exited with code ${exit.exit_code}` : `was ended by ${exit.signal}`;
    return new GodwitError(
      "release.machine_exited",
      `Machine ${view.id} ${how} while it was being deployed${words}`,
      { fault: "app", hint: "Its command must go on running; see the logs for why it ended." },
    );
  }
  const reason = exit?.reason ?? view.reason ?? `its state is ${view.state}`;
  const message = `Machine ${view.id} did not come up: ${reason.slice(0, 1_000)}${words}`;
  // Steps of the boot (BootStep) that fail for what the image or the deploy says, not for what we do.
  return /\bstep (spawn|user):/.test(reason)
    ? new GodwitError("release.machine_failed", message, {
      fault: "app",
      hint: "Check the command, the entrypoint and the user of the image and of the deploy.",
    })
    : new GodwitError("release.machine_failed", message, {
      fault: "us",
      hint: "See the machine's logs and the worker's log on its host.",
    });
}

function lastWords(lines: readonly Pick<LogLine, "line">[]): string {
  if (lines.length === 0) return "";
  const last = lines.slice(-LAST_LINES_MAX).map((l) => `  ${l.line.slice(0, LAST_LINE_CHARS_MAX)}`);
  return `; its last lines:\n${last.join("\n")}`;
}
