/** Serves the worker API on its unix socket, which only its owner may open. */
import { mkdirSync, unlinkSync } from "node:fs";
import { dirname } from "node:path";
import type { Hono } from "hono";
import { GodwitError } from "../../contract/errors.ts";

/** sun_path of sockaddr_un (unix(7)), less its NUL. */
export const SOCKET_PATH_BYTES_MAX = 107;

/**
 * A wait takes up to WAIT_TIMEOUT_S_MAX, a pull much longer, and both have their own limits; Bun would cut them off after
 * ten seconds. Its types do not know the option on unix sockets, its server heeds it there (and not `server.timeout`).
 */
const NO_IDLE_TIMEOUT: object = { idleTimeout: 0 };

export interface Listener {
  stop(): Promise<void>;
}

/** Takes the place of a socket that a killed agent left: whoever calls this holds the store, so no other agent lives. */
export function listen(app: Hono, socket: string): Listener {
  if (Buffer.byteLength(socket) > SOCKET_PATH_BYTES_MAX) {
    throw new GodwitError(
      "worker.socket_path_too_long",
      `Cannot listen on ${socket}: unix sockets stop at ${SOCKET_PATH_BYTES_MAX} bytes`,
      {
        fault: "us",
        hint: "set listen_socket to a shorter path, below /run",
      },
    );
  }
  mkdirSync(dirname(socket), { recursive: true, mode: 0o700 });
  try {
    unlinkSync(socket);
  } catch {
    // There was none, which is the usual case; anything else shows in what follows.
  }
  const before = process.umask(0o177);
  try {
    const server = Bun.serve({ unix: socket, fetch: (request) => app.fetch(request), ...NO_IDLE_TIMEOUT });
    return {
      stop: async () => {
        await server.stop(true);
      },
    };
  } finally {
    process.umask(before);
  }
}
