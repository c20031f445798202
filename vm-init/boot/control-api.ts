/** Step control-api: opens the channel to the worker. A boot that fails before it opens it to say so. */
import { chmodSync, rmSync } from "node:fs";
import net from "node:net";
import type { Duplex } from "node:stream";
import type { ControlServer } from "../api/server.ts";
import {
  CONTROL_PORT_NAME,
  CONTROL_SOCKET,
  CONTROL_VSOCK_PORT,
} from "../../control/contract/guest-limits.ts";
import { findPort, servePort } from "../system/virtio-port.ts";
import { hasVsock, serveVsock } from "../system/vsock.ts";
import type { Mode } from "./run-config.ts";

export class ControlChannel {
  readonly #server: ControlServer;
  readonly #mode: Mode;
  #open = false;

  constructor(server: ControlServer, mode: Mode) {
    this.#server = server;
    this.#mode = mode;
  }

  async open(): Promise<void> {
    if (this.#open) return;
    const accept = (stream: Duplex) => this.#server.accept(stream);
    if (this.#mode === "container") await this.#listen();
    else if (hasVsock()) await serveVsock(CONTROL_VSOCK_PORT, accept);
    else servePort(findPort(CONTROL_PORT_NAME), accept);
    this.#open = true;
  }

  #listen(): Promise<void> {
    // Left from an earlier start of the same container.
    rmSync(CONTROL_SOCKET, { force: true });
    return new Promise((resolve, reject) => {
      const listener = net.createServer((socket) => this.#server.accept(socket));
      listener.once("error", reject);
      listener.listen(CONTROL_SOCKET, () => {
        chmodSync(CONTROL_SOCKET, 0o600);
        resolve();
      });
    });
  }
}
