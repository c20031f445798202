/** Makes this host known to control, again and again: control takes a host that falls silent for gone. */
import { GodwitError, WireError } from "../contract/errors.ts";
import type { PublisherKey } from "../contract/signing.ts";
import { HostRegistration, REGISTRATION_INTERVAL_MS } from "../contract/worker-api.ts";
import { type Backoff, backoffMs, pause } from "./backoff.ts";
import type { Host } from "./host.ts";
import { hostViewOf } from "./offers.ts";

const RETRY: Backoff = { firstMs: 100, capMs: REGISTRATION_INTERVAL_MS };
const CALL_TIMEOUT_MS = 5_000;

/** Runs until `signal` is aborted. @param publisherKey replicas believe what it signs, once control has announced it */
export async function register(
  host: Host,
  publisherKey: PublisherKey,
  random: () => number,
  signal: AbortSignal,
): Promise<void> {
  for (let failures = 0; !signal.aborted;) {
    try {
      await tell(host, publisherKey, signal);
      if (failures > 0) host.log.info("control knows this host again");
      failures = 0;
    } catch (error) {
      if (signal.aborted) return;
      host.metrics.registrationFailures.inc();
      // Once for each time that control goes away; the metric counts the rest.
      if (failures++ === 0) host.log.warn({ err: error }, "cannot register with control");
    }
    await pause(failures === 0 ? REGISTRATION_INTERVAL_MS : backoffMs(RETRY, failures, random), signal);
  }
}

async function tell(host: Host, publisherKey: PublisherKey, signal: AbortSignal): Promise<void> {
  const { config } = host;
  const body: HostRegistration = {
    host: hostViewOf(host),
    url: `unix:${config.listen_socket}`,
    // A control of an earlier version drops it.
    publisher_key: publisherKey,
  };
  const url = new URL(`/internal/v1/hosts/${config.host_id}`, config.control_url);
  const answer = await fetch(url, {
    method: "PUT",
    headers: { "authorization": `Bearer ${config.node_token}`, "content-type": "application/json" },
    body: JSON.stringify(HostRegistration.parse(body)),
    signal: AbortSignal.any([signal, AbortSignal.timeout(CALL_TIMEOUT_MS)]),
  });
  if (answer.ok) return void await answer.body?.cancel();
  const said = wireErrorOf(await answer.text());
  throw new GodwitError(
    "worker.registration_refused",
    `Control at ${config.control_url} refused host ${config.host_id}: status ${answer.status}${
      said === null ? "" : `, ${said.code}: ${said.message}`
    }`,
    {
      fault: "us",
      retryable: true,
      hint: said?.hint ?? "check control_url and node_token in the worker's configuration",
    },
  );
}

function wireErrorOf(body: string): WireError | null {
  try {
    return WireError.parse((JSON.parse(body) as { error?: unknown }).error);
  } catch {
    return null; // something else answers there
  }
}
