import { z } from "zod";
import type { Principal } from "../access/token.ts";
import { MachineState, type MachineView } from "../contract/machine.ts";
import { WAIT_TIMEOUT_S_MAX } from "../contract/worker-api.ts";
import type { ApiParts } from "./context.ts";
import { findOwnMachine } from "./not-found.ts";
import { validate } from "./validate.ts";

const WaitQuery = z.object({
  state: z.array(MachineState).min(1).max(10),
  timeout_s: z.coerce.number().int().min(0).max(WAIT_TIMEOUT_S_MAX).default(WAIT_TIMEOUT_S_MAX),
});

/** Passes the wait on to the machine's worker. */
export async function waitForMachine(
  parts: ApiParts,
  principal: Principal,
  machineId: string,
  parameters: URLSearchParams,
  signal: AbortSignal,
): Promise<MachineView> {
  const states = parameters.getAll("state");
  const query = validate(
    WaitQuery as z.ZodType<z.infer<typeof WaitQuery>>,
    {
      state: states.length === 0 ? ["started"] : states,
      timeout_s: parameters.get("timeout_s") ?? undefined,
    },
    {
      code: "machine.wait_invalid",
      what: "wait",
      hint: `state: ${MachineState.options.join(", ")}; timeout_s: 0 to ${WAIT_TIMEOUT_S_MAX}.`,
    },
  );
  const { host } = await parts.store.read((sql) => findOwnMachine(sql, principal, machineId));
  return await parts.clientOf(host).wait(machineId, query.state, query.timeout_s, { signal });
}
