/** Listening on a unix socket that only its owner may open. */
import { unlinkSync } from "node:fs";
import type { Server } from "node:http";
import { connect } from "node:net";
import process from "node:process";

/** sun_path of sockaddr_un (unix(7)), less its NUL. */
const SOCKET_PATH_BYTES_MAX = 107;

/** One that was left behind is replaced; rejects where somebody answers there. */
export async function listenOnSocket(server: Server, socket: string): Promise<void> {
  if (Buffer.byteLength(socket) > SOCKET_PATH_BYTES_MAX) {
    throw new Error(`a socket's path has at most ${SOCKET_PATH_BYTES_MAX} bytes`);
  }
  if (await isListening(socket)) throw new Error("somebody answers there");
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

export function listening(server: Server, listen: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.once("listening", () => resolve());
    listen();
  });
}

/** Whether somebody takes connections there. */
export function isListening(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const client = connect(socket);
    client.once("connect", () => {
      client.destroy();
      resolve(true);
    });
    client.once("error", () => resolve(false));
  });
}
