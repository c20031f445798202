/**
 * What a worker lets the edge of its own host do, on a socket of its own (`WorkerConfig.edge_socket`, mode 0600): start
 * machines on demand and stop idle ones, as far as their services say so. The worker API itself would do too, and would
 * give whoever takes over an edge, which faces the internet, every machine and its environment.
 *
 *   POST /v1/machines/ID/start             EdgeMachine; accepted, state `starting` or beyond
 *   POST /v1/machines/ID/start?spare=true  the same, but one that was stopped on request less than RECENTLY_STOPPED_MS ago
 *                                          stays so: 409 `machine.recently_stopped`. For an edge whose other machines
 *                                          can serve: what was just stopped is not started again for a passing peak
 *   POST /v1/machines/ID/stop              EdgeMachine; accepted. The machine is suspended where its services say so
 *                                          (`auto_stop_machines`) and the host can, else stopped
 *
 * All are idempotent. Failures are `{"error": WireError}` as in the worker API, and `machine.autostart_off`,
 * `machine.autostop_off` (409) where no service of the machine allows it.
 */
import { z } from "zod";
import { MachineState } from "./machine.ts";
import { MachineId } from "./names.ts";

export const EDGE_BODY_BYTES_MAX = 4_096;
/** The reference's window, section 1.4. */
export const RECENTLY_STOPPED_MS = 300_000;
export const RECENTLY_STOPPED = "machine.recently_stopped";

export const EdgeMachine = z.object({ id: MachineId, state: MachineState });
export type EdgeMachine = z.infer<typeof EdgeMachine>;
