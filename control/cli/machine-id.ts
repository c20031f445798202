/** Which machine a command means: the one that is named, else one of the app's that runs. */
import { GodwitError } from "../contract/errors.ts";
import { MachineId } from "../contract/names.ts";
import type { ApiClient } from "./api-client.ts";
import { foundApp } from "./commands/apps.ts";
import type { Session } from "./session.ts";

const MACHINES_MAX = 200;

export function checkedMachineId(id: string): string {
  if (MachineId.safeParse(id).success) return id;
  throw new GodwitError(
    "cli.machine_id",
    `${JSON.stringify(id)} is not a machine's id: 14 hexadecimal digits`,
    {
      fault: "client",
      hint: "see `godwit machine list -a APP`",
    },
  );
}

/** @throws `cli.not_found`, `cli.machine_state` where none runs */
export async function chooseMachine(
  session: Session,
  api: ApiClient,
  id: string | undefined,
): Promise<string> {
  if (id !== undefined) return checkedMachineId(id);
  const name = session.app;
  const { app } = await api.graphql<
    { app: { machines: { edges: { node: { machineId: string; state: string } }[] } } | null }
  >(
    `query ($name: String!, $first: Int) { app(name: $name) {
      machines(first: $first) { edges { node { machineId state } } } } }`,
    { name, first: MACHINES_MAX },
  );
  const { edges } = foundApp(app, name).machines;
  const started = edges.find(({ node }) => node.state === "STARTED");
  if (started !== undefined) return started.node.machineId;
  const states = edges.map(({ node }) => `${node.machineId} is ${node.state.toLowerCase()}`);
  throw new GodwitError(
    "cli.machine_state",
    `No machine of ${name} runs: ${states.join(", ") || "it has none"}`,
    { fault: "app", hint: `godwit machine start ID; godwit logs -a ${name}` },
  );
}
