/** One port of one machine: where requests can go, what is known of it here, and the idle connections to it. */
import type { Breaker } from "../balance/breaker.ts";
import type { UpstreamConnection } from "../relay/upstream-connection.ts";

export class Backend {
  readonly machineId: string;
  readonly region: string;
  readonly address: string;
  readonly port: number;
  softLimit = 20;
  hardLimit = Infinity;
  /** Requests under way from this edge: under both types of concurrency each holds one connection to the machine. */
  inFlight = 0;
  /** Monotonic; passed over until then because of what `breaker` says, or (Infinity) until its next warm try. */
  ejectedUntilMs = 0;
  /** Null while nothing has failed, which is nearly always. */
  breaker: Breaker | null = null;
  /** Monotonic; a refusal before then means that the app has not begun to listen yet. */
  warmUntilMs = 0;
  /** The same machine's next port. */
  sibling: Backend | null = null;
  /** No longer routed to; connections end with their exchange. */
  retired = false;
  /** What the log says of it in each line, kept by `access-line.ts`. */
  logged: Uint8Array | null = null;
  #idle: UpstreamConnection[] | null = null;

  constructor(machineId: string, region: string, address: string, port: number) {
    this.machineId = machineId;
    this.region = region;
    this.address = address;
    this.port = port;
  }

  get idleConnections(): number {
    return this.#idle?.length ?? 0;
  }

  /** The connection used last: the others may then reach their idle time. */
  take(): UpstreamConnection | null {
    const idle = this.#idle;
    if (idle === null) return null;
    let connection = idle.pop();
    while (connection !== undefined && !connection.usable) connection = idle.pop();
    return connection ?? null;
  }

  /** @returns false where there is no place for it */
  keep(connection: UpstreamConnection, idleMax: number): boolean {
    if (this.retired || this.idleConnections >= idleMax) return false;
    (this.#idle ??= []).push(connection);
    return true;
  }

  forget(connection: UpstreamConnection): void {
    const at = this.#idle?.indexOf(connection) ?? -1;
    if (at !== -1) this.#idle!.splice(at, 1);
  }

  retire(): void {
    this.retired = true;
    const idle = this.#idle ?? [];
    this.#idle = null;
    for (const connection of idle) connection.destroy();
  }
}
