/** What a stream relay answers: `/relay`, `/healthz`, `/metrics`. Pure. */
import { Exposition, labelled } from "../replicate/exposition.ts";
import { json } from "../replicate/json-page.ts";
import type { Page } from "../workers/messages.ts";
import type { RelayStatus } from "./relay-counts.ts";

/** Without an answer of both servers, or without having copied all, for so long, it calls itself stale. */
export const STALE_AFTER_MS = 60_000;

export function relayPage(method: string, path: string, status: RelayStatus): Page {
  if (method !== "GET" && method !== "HEAD") {
    return json(405, { error: "only GET and HEAD are answered here" });
  }
  switch (path) {
    case "/healthz":
      // 200 in any case: it is alive, and to start it anew brings no Redis back.
      return json(200, { status: wordOf(status), stale_ms: status.stale_ms, behind_ms: status.behind_ms });
    case "/relay":
      return json(200, status);
    case "/metrics":
      return { status: 200, contentType: "text/plain; version=0.0.4", body: relayMetrics(status) };
    default:
      return json(404, { error: "there are /relay, /healthz and /metrics" });
  }
}

function wordOf({ connected, stale_ms, behind_ms }: RelayStatus): string {
  if (!connected) return "disconnected";
  if (behind_ms === null) return "catching_up";
  return Math.max(stale_ms ?? 0, behind_ms) > STALE_AFTER_MS ? "degraded" : "ok";
}

export function relayMetrics(status: RelayStatus): string {
  const figures = new Exposition();
  const name = (end: string) => `godwit_stream_relay_${end}`;
  figures.one(name("connected"), "gauge", "1 while both servers answer.", status.connected ? 1 : 0);
  figures.one(name("stale_ms"), "gauge", "Since both servers last answered.", status.stale_ms);
  figures.one(name("behind_ms"), "gauge", "Since all that the upstream had was copied.", status.behind_ms);
  figures.one(name("lag_ms"), "gauge", "From the upstream's append to the copy's.", status.last_lag_ms);
  figures.one(name("entries_copied"), "counter", "Entries copied.", status.entries_copied);
  figures.one(name("bytes_copied"), "counter", "Bytes of their fields.", status.bytes_copied);
  figures.one(name("reconnects"), "counter", "Times that a connection ended.", status.reconnects);
  figures.one(
    name("overtaken"),
    "counter",
    "Writes that met a copy which had changed meanwhile.",
    status.overtaken,
  );
  const begun = labelled("reason", Object.entries(status.begun_anew));
  figures.family(name("begun_anew"), "counter", "Copies of a stream begun anew, by reason.", begun);
  const positions = Object.entries(status.streams).flatMap(([stream, { position }]) =>
    position === null ? [] : [[stream, Number(position.split("-")[0])] as [string, number]]
  );
  figures.family(
    name("position_ms"),
    "gauge",
    "When the newest entry copied was appended, by the upstream's clock.",
    labelled("stream", positions),
  );
  return figures.text;
}
