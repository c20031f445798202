/** The admin pages of a program alone, a replicator or a stream relay: on loopback or a socket of its owner's. */
import { unlinkSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { connect } from "node:net";
import process from "node:process";
import { GodwitError, messageOf } from "../../control/contract/errors.ts";
import type { Page } from "../workers/messages.ts";
import type { AdminPlace } from "./program-options.ts";

/** sun_path of sockaddr_un (unix(7)), less its NUL. */
const SOCKET_PATH_BYTES_MAX = 107;

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

async function listenOnSocket(server: Server, socket: string): Promise<void> {
  if (Buffer.byteLength(socket) > SOCKET_PATH_BYTES_MAX) {
    throw new Error(`a socket's path has at most ${SOCKET_PATH_BYTES_MAX} bytes`);
  }
  if (await answers(socket)) throw new Error("somebody answers there");
  try {
    unlinkSync(socket); // left by one that was killed
  } catch {
    // There was none, which is the usual case; anything else shows in what follows.
  }
  const before = process.umask(0o177);
  try {
    await listening(server, () => server.listen(socket));
  } finally {
    process.umask(before);
  }
}

function listening(server: Server, listen: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.once("listening", () => resolve());
    listen();
  });
}

function answers(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const client = connect(socket);
    client.once("connect", () => {
      client.destroy();
      resolve(true);
    });
    client.once("error", () => resolve(false));
  });
}
