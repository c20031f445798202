/**
 * The connections of HTTP/2 to one port of a machine (`http_options.h2_backend`). Requests share a connection; another is made
 * where those that are there carry as many streams as their machine allows.
 */
import type { Service } from "../../control/contract/machine.ts";
import type { RelayContext } from "../relay/relay-context.ts";
import type { Exchange } from "../request/exchange.ts";
import type { Backend } from "../routes/backend.ts";
import { BackConnection } from "./back-connection.ts";
import { BackStream } from "./back-stream.ts";

export class BackPool {
  /** Ports of the service behind which the machine wants HTTP/2. */
  readonly ports: readonly number[];
  readonly #connections: BackConnection[] = [];

  constructor(ports: readonly number[]) {
    this.ports = ports;
  }

  get size(): number {
    return this.#connections.length;
  }

  send(context: RelayContext, exchange: Exchange, backend: Backend, connectWaitMs: number): void {
    let connection = exchange.freshOnly ? undefined : this.#connections.find((each) => each.hasRoom);
    if (connection === undefined) {
      connection = new BackConnection(context, this);
      this.#connections.push(connection);
      connection.connect(backend.address, backend.port, connectWaitMs);
    }
    const stream = new BackStream(connection, exchange);
    exchange.upstream = stream;
    connection.add(stream);
  }

  forget(connection: BackConnection): void {
    const at = this.#connections.indexOf(connection);
    if (at !== -1) this.#connections.splice(at, 1);
  }

  /** No more requests; connections end with their last one. */
  retire(): void {
    for (const connection of this.#connections.splice(0)) connection.leave();
  }
}

/** @returns the pool that a machine's services ask for; the one that is there where they ask the same as before */
export function backPoolOf(
  before: BackPool | null,
  services: readonly Service[],
  internalPort: number,
): BackPool | null {
  const ports: number[] = [];
  for (const service of services) {
    if (service.internal_port !== internalPort) continue;
    for (const { port, http_options } of service.ports) {
      if (http_options?.h2_backend === true) ports.push(port);
    }
  }
  if (before !== null) {
    if (ports.length === before.ports.length && ports.every((port) => before.ports.includes(port))) {
      return before;
    }
    before.retire();
  }
  return ports.length === 0 ? null : new BackPool(ports);
}
