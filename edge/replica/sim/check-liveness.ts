/** After quiet every edge is up, connected, and was answered a moment ago. */
import type { EdgeModel } from "./edge-model.ts";

export const STALE_MS_MAX = 5_000;

export function checkLiveness(edge: EdgeModel): string | null {
  const status = edge.status();
  if (status === null) return `${edge.name} is down: ${String(edge.lastError)}`;
  if (!status.connected) return `${edge.name} is not connected: ${status.last_error}`;
  return status.stale_ms === null || status.stale_ms > STALE_MS_MAX
    ? `${edge.name} was answered ${status.stale_ms} ms ago`
    : null;
}
