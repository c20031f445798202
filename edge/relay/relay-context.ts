/** What the relay's connections need from the edge that owns them. The stages of a request live behind `handler`. */
import type { Exchange } from "../request/exchange.ts";
import type { SocketPort } from "../runtime/socket-port.ts";
import type { Deadlines } from "./deadlines.ts";
import type { Limits } from "./limits.ts";
import type { Refusal } from "./refusal.ts";
import type { ResponseHead } from "./response-head.ts";

/** Why a machine gave no usable response. */
export interface UpstreamFailure {
  readonly kind: "refused" | "connect_timeout" | "reset" | "bad_response" | "response_timeout";
  readonly detail: string;
  /** The connection came from the pool, so the machine may have closed it before the request arrived. */
  readonly reused: boolean;
  /** The machine says that it has not looked at the request (RFC 9113 section 8.7). */
  readonly unseen?: boolean;
}

export interface RelayHandler {
  /** A whole request head is there. */
  serve(exchange: Exchange): void;
  /** A connection that carries bytes and no requests is there. */
  serveTunnel(exchange: Exchange): void;
  /** The request cannot be read, or its body cannot; no response has begun. */
  refuse(exchange: Exchange, why: Refusal): void;
  /** No response has begun, and none will from this attempt. */
  failed(exchange: Exchange, failure: UpstreamFailure): void;
  /** A connection to the machine is there. */
  connected(exchange: Exchange): void;
  /** Code of ours threw while it served a connection, which ends. */
  fault(error: unknown): void;
  /**
   * A final response's head has come, and nothing of it has gone to the client.
   * @returns null where it is the client's; else what takes the exchange on once this machine's half has let go of it
   */
  received(exchange: Exchange, head: ResponseHead): (() => void) | null;
  /** Called exactly once for each exchange, last. */
  finished(exchange: Exchange): void;
  /** A client has connected; `refused` where there were too many. */
  clientOpened(listener: ListenerInfo, refused: boolean): void;
  /** A client's connection is gone, after its exchange has finished. */
  clientClosed(listener: ListenerInfo): void;
  /** A bound of the relay was met that ends in no refusal of its own. */
  limitMet(limit: string): void;
  /** Lines, each with CR LF, that every response gets. */
  responseFields(exchange: Exchange, hasDate: boolean): string;
}

/** A client's connection, whatever it speaks. */
export interface Client {
  /** A request is being read or answered, or the client has not taken all of its answer. */
  readonly busy: boolean;
  /** The edge stops: no request after those that run. */
  closeIfIdle(): void;
  close(): void;
}

export interface RelayContext {
  /** The edge's own. */
  readonly region: string;
  readonly limits: Limits;
  readonly sockets: SocketPort;
  readonly deadlines: Deadlines;
  readonly clients: Set<Client>;
  readonly handler: RelayHandler;
  /** Milliseconds on a clock that never goes back. */
  nowMs(): number;
  /** No new request after the running one. */
  draining: boolean;
  /** While draining: a connection that is idle gets one more request before it is closed. */
  awaitsIdle: boolean;
}

/** One address that clients connect to. */
export interface ListenerInfo {
  /** The port of a service that this listener stands for. */
  readonly servicePort: number;
  /** Serves the edge's own pages instead of apps. */
  readonly admin: boolean;
  /** As configured. */
  readonly address?: string;
  /** It carries bytes and no requests, for the app of this host name. */
  readonly app?: string;
  /** Connections begin with a PROXY header. */
  readonly proxyProtocol?: boolean;
  /** Other edges send requests for this host's machines here. */
  readonly peer?: boolean;
  /** HTTP/2 without TLS for clients that begin with its preface (RFC 9113 section 3.3). */
  readonly h2c?: boolean;
  /** Clients speak TLS to it. */
  readonly tls: boolean;
  /** Where else clients of a name are served (RFC 7838). */
  readonly alternative?: { altSvc(serverName: string | null): string };
  /** HTTP/2 by ALPN where clients speak TLS. @default true */
  readonly http2?: boolean;
}
