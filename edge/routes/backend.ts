/** One port of one machine: where requests can go, what is known of it here, and the idle connections to it. */
import type { Breaker } from "../balance/breaker.ts";
import type { BackPool } from "../http2/back-pool.ts";
import type { UpstreamConnection } from "../relay/upstream-connection.ts";

/** In `ejectedUntilMs`: as long as its host is dead. Not Infinity, which has another meaning there. */
const HOST_DEAD_MS = Number.MAX_VALUE;

export interface Target {
  readonly address: string;
  readonly port: number;
}

/** Another worker host. */
export class PeerHost {
  readonly id: string;
  /** Its own edge; null where it has none, so that its machines are reached directly. */
  target: Target | null = null;

  constructor(id: string) {
    this.id = id;
  }
}

export class Backend {
  readonly machineId: string;
  readonly region: string;
  readonly address: string;
  readonly port: number;
  /** The edge of the machine's host, which gets its requests; null where this edge reaches the machine itself. */
  readonly peer: PeerHost | null;
  softLimit = 20;
  hardLimit = Infinity;
  /** Requests under way from this edge: under both types of concurrency each holds one connection to the machine. */
  inFlight = 0;
  /**
   * Monotonic; passed over until then because of what `breaker` says, or (Infinity) until its next warm try, or while its
   * host is dead. Set it through `eject` and `hostDied`.
   */
  ejectedUntilMs = 0;
  /** Null while nothing has failed, which is nearly always. */
  breaker: Breaker | null = null;
  /** Monotonic; a refusal before then means that the app has not begun to listen yet. */
  warmUntilMs = 0;
  /** A request was sent to it since the last look (`balance/autostop-pass.ts`). */
  used = false;
  /** The same machine's next port. */
  sibling: Backend | null = null;
  /** No longer routed to; connections end with their exchange. */
  retired = false;
  /** What the log says of it in each line, kept by `access-line.ts`. */
  logged: Uint8Array | null = null;
  /** Null where the machine wants HTTP/1.1 alone. */
  http2: BackPool | null = null;
  #idle: UpstreamConnection[] | null = null;

  constructor(
    machineId: string,
    region: string,
    address: string,
    port: number,
    peer: PeerHost | null = null,
  ) {
    this.machineId = machineId;
    this.region = region;
    this.address = address;
    this.port = port;
    this.peer = peer;
  }

  /** Where its connections go. Another object means that those before went elsewhere. */
  get target(): Target {
    return this.peer?.target ?? this;
  }
  /** Its requests go by way of its host's own edge. */
  get viaPeer(): boolean {
    return this.peer !== null && this.peer.target !== null;
  }

  /** `balance/dead-hosts.ts` says so. */
  get hostDead(): boolean {
    return this.ejectedUntilMs === HOST_DEAD_MS;
  }

  /** What is seen of a machine changes nothing while its host is dead. */
  eject(untilMs: number): void {
    if (!this.hostDead) this.ejectedUntilMs = untilMs;
  }

  /** Connections that it kept lead nowhere now, and not to the same host when it is back. */
  hostDied(): void {
    this.ejectedUntilMs = HOST_DEAD_MS;
    this.#dropIdle();
  }

  /** Where its breaker is open the next request tries it, and the others wait for how that one fares. */
  hostCameBack(): void {
    if (this.hostDead) this.ejectedUntilMs = 0;
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
    this.#dropIdle();
    this.http2?.retire();
  }

  #dropIdle(): void {
    const idle = this.#idle ?? [];
    this.#idle = null;
    for (const connection of idle) connection.destroy();
  }
}
