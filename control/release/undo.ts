/** Ends a deploy that failed: nothing that this release made stays, and the release says why. */
import { GodwitError, messageOf } from "../contract/errors.ts";
import { livingMachinesOfRelease, wantDestroyed } from "../store/machines.ts";
import type { Deployment } from "./deployment.ts";
import { destroyMachine } from "./destroy-machine.ts";

export async function failAndUndo(deployment: Deployment, cause: unknown): Promise<"failed"> {
  const error = known(deployment, cause);
  const { release, tools } = deployment;
  const machines = await tools.store.read((sql) => livingMachinesOfRelease(sql, release.id));
  await deployment.record(
    { step: "undoing", error: error.toWire() },
    (tx) => wantDestroyed(tx, machines.map((line) => line.id)),
  );
  if (machines.length > 0) await deployment.say(`Undoing: destroying ${machines.length} machine(s)`);
  await Promise.all(machines.map((line) => destroyMachine(tools, line)));
  await deployment.record({ step: "finished", status: "failed" });
  return "failed";
}

/** What nobody foresaw is ours, and its details are for the log alone. */
function known(deployment: Deployment, cause: unknown): GodwitError {
  if (cause instanceof GodwitError) return cause;
  const incident = crypto.randomUUID();
  deployment.tools.log("error", `deploy failed unexpectedly: ${messageOf(cause)}`, {
    incident,
    release: deployment.release.id,
    stack: cause instanceof Error ? cause.stack : undefined,
  });
  return new GodwitError(
    "release.internal",
    `The deploy failed for a reason of our own, incident ${incident}`,
    {
      fault: "us",
      retryable: true,
      hint: "Tell the operator the incident; control's log has the reason.",
    },
  );
}
