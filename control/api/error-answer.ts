/** Errors as HTTP answers. What nobody foresaw is masked: the caller gets an incident number, the log the reason. */
import type { Logger } from "pino";
import { GodwitError, messageOf, type WireError } from "../contract/errors.ts";

/** By code; otherwise 400 for a client's or app's fault, 503 where a retry helps, 500 for the rest. */
const statusByCode: Record<string, number> = {
  "access.scope_missing": 403,
  "api.body_too_large": 413,
  "api.idempotency_conflict": 409,
  "api.too_many_followers": 429,
  "api.too_many_streams": 429,
  "guest.file_exists": 409,
  "guest.file_not_found": 404,
  "guest.not_running": 409,
  "guest.too_many_execs": 429,
  "host.publisher_key_changed": 409,
  "machine.not_started": 409,
  "machine.wait_timeout": 408,
  "release.in_progress": 409,
};

export function statusOf(error: WireError): number {
  const named = statusByCode[error.code];
  if (named !== undefined) return named;
  if (error.code.startsWith("access.")) return error.fault === "client" ? 401 : 500;
  if (error.code.endsWith(".not_found")) return 404;
  if (error.fault !== "us") return 400;
  return error.retryable ? 503 : 500;
}

export function wireOf(error: unknown, log: Logger): WireError {
  if (error instanceof GodwitError) return error.toWire();
  const incident = crypto.randomUUID();
  log.error({ incident, stack: error instanceof Error ? error.stack : undefined }, messageOf(error));
  return {
    code: "api.internal",
    fault: "us",
    retryable: false,
    message: `Something of our own went wrong, incident ${incident}`,
    hint: "Tell the operator the incident; control's log has the reason.",
  };
}

/** `{"error": WireError}` */
export function errorAnswer(error: unknown, log: Logger): Response {
  const wire = wireOf(error, log);
  return Response.json({ error: wire }, { status: statusOf(wire), headers: challenge(wire) });
}

/** As a GraphQL answer, for what fails before GraphQL begins. */
export function graphqlErrorAnswer(error: unknown, log: Logger): Response {
  const { message, ...extensions } = wireOf(error, log);
  const wire = { message, ...extensions };
  return Response.json({ errors: [{ message, extensions }] }, {
    status: statusOf(wire),
    headers: challenge(wire),
  });
}

/** RFC 6750 section 3. */
function challenge(wire: WireError): Record<string, string> {
  return statusOf(wire) === 401 ? { "www-authenticate": 'Bearer realm="godwit"' } : {};
}
