/**
 * The client's half of an exchange, whatever it speaks: a connection of HTTP/1.1 (`client-connection.ts`), a stream of
 * HTTP/2, a request of HTTP/3. Between the two halves everything is HTTP/1.1: heads as lines of text, bodies in the
 * framing that their head names (Content-Length bytes, chunks with trailers, or until the end). One form means that each
 * rule is written once, and that the common case, HTTP/1.1 on both sides, passes bytes through as they came.
 */
import type { Exchange } from "../request/exchange.ts";
import type { ListenerInfo } from "./relay-context.ts";
import type { ResponseHead } from "./response-head.ts";

/** What takes a response: the client's half, or a filter in front of it (compression). */
export interface ResponseSink {
  /** @param length what follows on the wire: bytes, CHUNKED or UNTIL_CLOSE (`bodyLength()`) */
  startResponse(exchange: Exchange, head: ResponseHead, length: number): void;
  /**
   * Body bytes in the head's framing. `from === to` says that the head came alone and should go out.
   * @returns false: no more before `Upstream.clientDrained()`
   */
  body(exchange: Exchange, bytes: Buffer, from: number, to: number): boolean;
  /** Nothing of what `body` was given is referred to any more; absent where that is not known. */
  readonly tookAll?: boolean;
  /** The body's last byte has been given. */
  endResponse(exchange: Exchange): void;
  /** The response has begun and will not be finished. */
  cut(exchange: Exchange): void;
}

export interface Downstream extends ResponseSink {
  readonly listener: ListenerInfo;
  /** The client's address, as machines and the log see it. */
  readonly address: string;
  /** The client's, for the log. */
  readonly port?: number;
  /** `TLSv1.2`, `TLSv1.3`; null or absent in the clear. */
  readonly tlsVersion?: string | null;
  /** What the log says of the client in each line, kept by `access-line.ts`. */
  logged?: Uint8Array | null;
  /** Lines about the client that its requests carry to machines, made at the first of them; empty until then. */
  forwardedFields: string;
  /** For `Via` and the log. */
  readonly protocol: "1.1" | "2" | "3" | "tcp";
  /** The name that the client asked for in its TLS handshake; null without TLS or without a name. */
  readonly serverName: string | null;
  /** @returns body bytes that are here already; null where there are none */
  takeBody(exchange: Exchange): Buffer | null;
  /** The machine's half is ready: call `Upstream.sendBody` with what comes from now on. */
  bodyMayFlow(exchange: Exchange): void;
  /** `Upstream.blocked` has become false. */
  upstreamDrained(): void;
  /** A 1xx response (RFC 9110 section 15.2) other than 101. */
  interim(exchange: Exchange, head: ResponseHead): void;
  /** The machine switched protocols: bytes flow both ways from now on, by `tunnelBytes` and `Upstream.sendBody`. */
  becomeTunnel(exchange: Exchange, head: ResponseHead): void;
  /** @returns false: no more before `Upstream.clientDrained()` */
  tunnelBytes(exchange: Exchange, bytes: Buffer): boolean;
  /** The machine will send no more through the tunnel. */
  shutdown(): void;
  /**
   * An answer of the edge's own.
   * @param fields lines, each with CR LF, framing and connection fields excluded
   */
  respond(exchange: Exchange, status: number, fields: string, body: Buffer): void;
  /** Code of ours threw: the exchange ends here, other connections do not. */
  onFault(error: unknown): void;
  close(): void;
}

/** The machine's half of an exchange. */
export interface Upstream {
  /** Where its end is counted, once it stands. */
  counts?: { disconnects: number } | null;
  /** The head has gone out: the body may follow. */
  readonly begun: boolean;
  /** What was given has not all been taken: the client's half stops reading until `upstreamDrained()`. */
  readonly blocked: boolean;
  /** Nothing of what `sendBody` was given is referred to any more; absent where that is not known. */
  readonly tookAll?: boolean;
  /** Bytes of the request's body, in its head's framing, or of a tunnel. */
  sendBody(bytes: Buffer): void;
  /** The client will send no more through the tunnel. */
  shutdown(): void;
  /** The client took what it had not taken before. */
  clientDrained(): void;
  /** Nobody waits for the rest; not to be called back about it. */
  abandon(): void;
}
