/**
 * What a worker lets the edge of its own host do, on a socket of its own (`WorkerConfig.edge_socket`, mode 0600): start
 * machines on demand and stop idle ones, as far as their services say so. The worker API itself would do too, and would
 * give whoever takes over an edge, which faces the internet, every machine and its environment.
 *
 *   POST /v1/machines/ID/start   EdgeMachine; accepted, state `starting` or beyond
 *   POST /v1/machines/ID/stop    EdgeMachine; accepted
 *
 * Both are idempotent. Failures are `{"error": WireError}` as in the worker API, and `machine.autostart_off`,
 * `machine.autostop_off` (409) where no service of the machine allows it.
 */
import { z } from "zod";
import { MachineState } from "./machine.ts";
import { MachineId } from "./names.ts";

export const EDGE_BODY_BYTES_MAX = 4_096;

export const EdgeMachine = z.object({ id: MachineId, state: MachineState });
export type EdgeMachine = z.infer<typeof EdgeMachine>;
