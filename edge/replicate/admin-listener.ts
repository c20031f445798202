/** The admin pages of a replicator alone: `/replica`, `/healthz`, `/metrics`, on loopback or a socket of its owner's. */
import { createServer } from "node:http";
import { GodwitError, messageOf } from "../../control/contract/errors.ts";
import type { RowSourceStatus } from "../rows/row-source.ts";
import { pageOf as replicaPage } from "../workers/open-replica.ts";
import type { Page } from "../workers/messages.ts";
import type { AdminPlace } from "./options.ts";
import { listening, listenOnSocket } from "./owner-socket.ts";
import { replicaMetrics } from "./replica-metrics.ts";

export interface AdminSources {
  status(): RowSourceStatus;
  caughtUp(): boolean;
}

export interface AdminListener {
  /** 0 where it is a socket. */
  readonly port: number;
  stop(): Promise<void>;
}

/** @throws GodwitError `edge.admin_unusable` */
export async function listenReplicaAdmin(place: AdminPlace, sources: AdminSources): Promise<AdminListener> {
  const server = createServer((request, response) => {
    const { status, contentType, body } = pageOf(request.method ?? "", request.url ?? "/", sources);
    response.writeHead(status, { "content-type": contentType, "content-length": Buffer.byteLength(body) });
    response.end(request.method === "HEAD" ? "" : body);
  });
  try {
    if ("socket" in place) await listenOnSocket(server, place.socket);
    else await listening(server, () => server.listen(place.port, place.address));
  } catch (error) {
    const at = "socket" in place ? place.socket : `${place.address}:${place.port}`;
    throw new GodwitError("edge.admin_unusable", `Cannot listen on ${at}: ${messageOf(error)}`, {
      fault: "client",
      hint: "Something else has it, perhaps another replicator.",
      cause: error,
    });
  }
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

export function pageOf(method: string, path: string, sources: AdminSources): Page {
  if (method !== "GET" && method !== "HEAD") {
    return json(405, { error: "only GET and HEAD are answered here" });
  }
  const status = sources.status();
  switch (path) {
    case "/healthz":
      // 200 in any case: it is alive, and to start it anew brings no Redis back.
      return json(200, {
        status: !status.connected ? "disconnected" : sources.caughtUp() ? "ok" : "catching_up",
        stale_ms: status.stale_ms,
      });
    case "/replica":
      return json(200, replicaPage(status));
    case "/metrics":
      return { status: 200, contentType: "text/plain; version=0.0.4", body: replicaMetrics(status) };
    default:
      return json(404, { error: "there are /replica, /healthz and /metrics" });
  }
}

function json(status: number, body: unknown): Page {
  return { status, contentType: "application/json", body: JSON.stringify(body) };
}
