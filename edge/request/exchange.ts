/** One request and its response, from accept to tally. Each stage fills in what the next ones need. */
import type { Backend } from "../routes/backend.ts";
import type { AppRoute, ServiceRoute } from "../routes/app-route.ts";
import type { Downstream, ResponseSink, Upstream } from "../relay/downstream.ts";
import { LIMITS, type Limits } from "../relay/limits.ts";
import type { RequestHead } from "../relay/request-head.ts";
import type { KeptBody } from "../replay/kept-body.ts";
import type { Replay } from "../replay/replay.ts";
import type { Trace } from "../trace/trace.ts";
import type { Waiter } from "../routes/waiters.ts";
import type { PeerRequest } from "./peer-field.ts";
import type { Wish } from "./wish.ts";

export class Exchange {
  readonly client: Downstream;
  /** Where the response goes: the client, or a filter in front of it. */
  sink: ResponseSink;
  readonly head: RequestHead;
  /** Monotonic. */
  readonly startedMs: number;
  id = "";

  app: AppRoute | null = null;
  service: ServiceRoute | null = null;
  backend: Backend | null = null;
  /** The last pick; stays for the log when `backend` is released. */
  servedBy: Backend | null = null;
  /** Requests that its machine had under way from this edge, this one included. */
  load = 0;
  /** Picks that were sent to. */
  sends = 0;
  connectStartedMs = 0;
  /** How long the last connection took that was made for it; -1 where one from the pool would do. */
  connectMs = -1;
  upstream: Upstream | null = null;
  waiter: Waiter | null = null;
  /** The edge's, or those of the service once it is found. */
  limits: Limits = LIMITS;
  /** Lines that a refusal's answer gets besides its own, each with CR LF. */
  answerFields = "";
  /** The head as it goes to the machine; kept so that it can be sent again. */
  upstreamHead = "";
  attempts = 0;
  /** Where it asks to go, and what has failed it; null for most. */
  wish: Wish | null = null;
  /** Times that the edge of a machine's host sent it back. */
  sendBacks = 0;
  /** What the edge that sent it here says of it; null for a client's own request. */
  peer: PeerRequest | null = null;
  /** Null until a machine asks that another one answers. */
  replay: Replay | null = null;
  /** The body that went to a machine, for the next one; null where there is none, or its response has begun. */
  kept: KeptBody | null = null;
  /** It tries a machine that was passed over (`balance/breaker.ts`). */
  probe = false;
  /** Only a new connection will do: one from the pool has failed this request. */
  freshOnly = false;
  /** Its connection to the machine is for its client alone: neither from the pool nor for it. */
  dedicated = false;

  /** The body's last byte has been read. */
  requestDone = false;
  /** Body bytes have left for a machine, so that the request cannot be repeated. */
  bodySent = false;
  responseStarted = false;
  finished = false;

  /** As the client got it; 499 where the client left before. */
  status = 0;
  /** Of an answer that the edge gave itself, or of a response that was cut. */
  code: string | null = null;
  bytesIn = 0;
  bytesOut = 0;
  heldMs = 0;
  /** Monotonic, when the response's head came. */
  respondedMs = 0;
  tunnel = false;
  /** Null where nobody traces it. */
  trace: Trace | null = null;

  /** All that a machine has got of it can be sent to another. */
  get repeatable(): boolean {
    return !this.bodySent || (this.kept !== null && !this.kept.lost);
  }

  /** The body so far: what another machine has got of it, and what has come since. */
  takeBody(): Buffer | null {
    const fresh = this.client.takeBody(this);
    if (this.kept === null) return fresh;
    const before = this.kept.whole();
    if (fresh !== null) this.kept.add(fresh);
    return before === null ? fresh : fresh === null ? before : Buffer.concat([before, fresh]);
  }

  constructor(client: Downstream, head: RequestHead, startedMs: number) {
    this.client = client;
    this.sink = client;
    this.head = head;
    this.startedMs = startedMs;
  }
}
