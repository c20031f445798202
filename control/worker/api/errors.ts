/** HTTP statuses of errors: by code where the contract names one, else by whose fault it is. */
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { type Fault, GodwitError, messageOf } from "../../contract/errors.ts";

const STATUS: Readonly<Record<string, ContentfulStatusCode>> = {
  "machine.not_found": 404,
  "machine.busy": 409,
  "machine.not_started": 409,
  "machine.destroyed": 409,
  "machine.exists": 409,
  "machine.wait_timeout": 408,
  "machine.autostart_off": 409,
  "machine.autostop_off": 409,
  "machine.recently_stopped": 409,
  "vmm.unsupported": 409,
  "operation.superseded": 409,
  "place.no_capacity": 409,
  "worker.shutting_down": 503,
  "worker.disk_full": 507,
  "image.missing": 409,
  "guest.gone": 503,
  "guest.not_running": 409,
  "guest.too_many_execs": 429,
  "guest.file_not_found": 404,
  "guest.file_exists": 409,
  "guest.disk_full": 507,
  "guest.frozen": 409,
  "guest.freeze_unsupported": 409,
};
const BY_FAULT: Readonly<Record<Fault, ContentfulStatusCode>> = { client: 400, app: 422, us: 500 };

export function statusOf(error: GodwitError): ContentfulStatusCode {
  return STATUS[error.code] ?? BY_FAULT[error.fault];
}

/** Anything thrown, as what the caller may read. */
export function toGodwitError(thrown: unknown): GodwitError {
  if (thrown instanceof GodwitError) return thrown;
  return new GodwitError("worker.internal", `The worker failed: ${messageOf(thrown).slice(0, 500)}`, {
    fault: "us",
    hint: "the worker's log has the details",
    cause: thrown,
  });
}
