/** The admin pages of a program alone, a replicator or a stream relay: on loopback or a socket of its owner's. */
import { createServer } from "node:http";
import { GodwitError, messageOf } from "../../control/contract/errors.ts";
import type { Page } from "../workers/messages.ts";
import { listening, listenOnSocket } from "./owner-socket.ts";
import type { AdminPlace } from "./program-options.ts";

export interface AdminListener {
  /** 0 where it is a socket. */
  readonly port: number;
  stop(): Promise<void>;
}

/** @throws GodwitError `edge.admin_unusable` */
export async function listenAdmin(
  place: AdminPlace,
  pageOf: (method: string, path: string) => Page,
): Promise<AdminListener> {
  const server = createServer((request, response) => {
    const { status, contentType, body } = pageOf(request.method ?? "", request.url ?? "/");
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
      hint: "Something else has it, perhaps another replicator or relay.",
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
