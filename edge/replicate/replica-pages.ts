/** What a replicator alone answers: `/replica`, `/healthz`, `/metrics`. */
import type { RowSourceStatus } from "../rows/row-source.ts";
import { pageOf } from "../workers/open-replica.ts";
import type { Page } from "../workers/messages.ts";
import { json } from "./json-page.ts";
import { replicaMetrics } from "./replica-metrics.ts";

export interface AdminSources {
  status(): RowSourceStatus;
  caughtUp(): boolean;
}

export function replicaPage(method: string, path: string, sources: AdminSources): Page {
  if (method !== "GET" && method !== "HEAD") {
    return json(405, { error: "only GET and HEAD are answered here" });
  }
  const status = sources.status();
  switch (path) {
    case "/healthz":
      // 200 in any case: it is alive, and to start it anew brings no Redis back.
      return json(200, {
        status: wordOf(status, sources.caughtUp()),
        stale_ms: status.stale_ms,
      });
    case "/replica":
      return json(200, pageOf(status));
    case "/metrics":
      return { status: 200, contentType: "text/plain; version=0.0.4", body: replicaMetrics(status) };
    default:
      return json(404, { error: "there are /replica, /healthz and /metrics" });
  }
}

function wordOf({ connected, stale }: RowSourceStatus, isCaughtUp: boolean): string {
  if (!connected) return "disconnected";
  if (!isCaughtUp) return "catching_up";
  return stale === true ? "degraded" : "ok";
}
