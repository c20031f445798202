/**
 * HTTP/1.1 or HTTP/2 on a listener without TLS, where nothing has been negotiated: a client with prior knowledge begins
 * with the preface of HTTP/2 (RFC 9113 section 3.3), which no request of HTTP/1.1 begins with. Only for listeners that say
 * so: behind another proxy, an HTTP/2 connection that it took for HTTP/1.1 would pass its rules unseen.
 */
import { type Decision, FirstBytes } from "../relay/first-bytes.ts";
import type { RelayContext } from "../relay/relay-context.ts";
import type { SocketEvents } from "../runtime/socket-port.ts";
import { PREFACE } from "./protocol.ts";

const preface = Buffer.from(PREFACE, "latin1");
/** No method of HTTP/1.1 that is served here begins with them. */
const TELLING_BYTES = 4;

export class ChooseProtocol extends FirstBytes {
  readonly #http1: () => SocketEvents;
  readonly #http2: () => SocketEvents;

  constructor(context: RelayContext, http1: () => SocketEvents, http2: () => SocketEvents) {
    super(context, context.limits.headWaitMsMax);
    this.#http1 = http1;
    this.#http2 = http2;
  }

  protected override decide(bytes: Buffer): Decision {
    const seen = Math.min(bytes.length, TELLING_BYTES);
    const mayBe = bytes.compare(preface, 0, seen, 0, seen) === 0;
    if (mayBe && seen < TELLING_BYTES) return null;
    return { next: mayBe ? this.#http2() : this.#http1(), rest: bytes };
  }
}
