/**
 * The spans of one exchange: the server span of the client's request, and below it a client span for each machine that it
 * was sent to, by OpenTelemetry's conventions for HTTP
 * (https://opentelemetry.io/docs/specs/semconv/http/http-spans/). A machine gets its attempt's span as its parent.
 */
import { type Attributes, type Span, SpanKind, SpanStatusCode, type Tracer } from "@opentelemetry/api";
import { ROOT_CONTEXT, trace } from "@opentelemetry/api";
import type { Backend } from "../routes/backend.ts";
import { fieldValue, withoutFields } from "../relay/field-cursor.ts";
import type { Exchange } from "../request/exchange.ts";
import { checkedTraceState, formatTraceParent, parseTraceParent } from "./trace-context.ts";

const CONTEXT_FIELDS = new Set(["traceparent", "tracestate"]);
/** RFC 9110 section 9.3, RFC 5789: other names are the client's invention, and would be as many as it likes. */
const METHODS = new Set(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"]);

export interface TraceClock {
  /** Milliseconds since 1970, with fractions, for a reading of the monotonic clock. */
  wallOf(monotonicMs: number): number;
}

export class Trace {
  readonly traceId: string;
  readonly #tracer: Tracer;
  readonly #clock: TraceClock;
  readonly #server: Span;
  readonly #name: string;
  readonly #state: string | null;
  /** The request's lines without the context that it came with. */
  readonly #fields: string;
  #attempt: Span | null = null;

  constructor(tracer: Tracer, clock: TraceClock, exchange: Exchange, region: string) {
    this.#tracer = tracer;
    this.#clock = clock;
    const { head, client } = exchange;
    const parent = parseTraceParent(fieldValue(head.fields, "traceparent") ?? "");
    this.#state = parent === null ? null : checkedTraceState(fieldValue(head.fields, "tracestate") ?? "");
    this.#fields = withoutFields(head.fields, CONTEXT_FIELDS);
    const known = METHODS.has(head.method);
    this.#name = known ? head.method : "HTTP";
    const query = head.target.indexOf("?");
    const attributes: Attributes = {
      "http.request.method": known ? head.method : "_OTHER",
      ...(known || head.method === "" ? {} : { "http.request.method_original": head.method }),
      "url.scheme": client.listener.tls ? "https" : "http",
      "url.path": query === -1 ? head.target : head.target.slice(0, query),
      ...(query === -1 ? {} : { "url.query": head.target.slice(query + 1) }),
      "server.address": head.host,
      "server.port": client.listener.servicePort,
      "client.address": client.address,
      "network.protocol.version": client.protocol === "1.1" && head.minor === 0 ? "1.0" : client.protocol,
      ...(head.userAgent === null ? {} : { "user_agent.original": head.userAgent }),
      "godwit.request_id": exchange.id,
      "godwit.edge.region": region,
    };
    const from = parent === null ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, {
      traceId: parent.traceId,
      spanId: parent.spanId,
      traceFlags: parent.sampled ? 1 : 0,
      isRemote: true,
    });
    this.#server = tracer.startSpan(
      this.#name,
      { kind: SpanKind.SERVER, startTime: clock.wallOf(exchange.startedMs), attributes },
      from,
    );
    this.traceId = this.#server.spanContext().traceId;
  }

  /** The exchange goes to a machine now. */
  sent(exchange: Exchange, backend: Backend, nowMs: number): void {
    const { head, sends } = exchange;
    this.#attempt = this.#tracer.startSpan(
      this.#name,
      {
        kind: SpanKind.CLIENT,
        startTime: this.#clock.wallOf(nowMs),
        attributes: {
          "http.request.method": METHODS.has(head.method) ? head.method : "_OTHER",
          "url.full": `http://${backend.address}:${backend.port}${head.target}`,
          "server.address": backend.address,
          "server.port": backend.port,
          ...(sends > 1 ? { "http.request.resend_count": sends - 1 } : {}),
          "godwit.machine": backend.machineId,
          "godwit.machine.region": backend.region,
        },
      },
      trace.setSpan(ROOT_CONTEXT, this.#server),
    );
  }

  /** The request's lines as the machine gets them: `traceparent` names the attempt. */
  get fields(): string {
    const { traceId, spanId, traceFlags } = (this.#attempt ?? this.#server).spanContext();
    const sampled = (traceFlags & 1) === 1;
    const state = this.#state === null ? "" : `tracestate: ${this.#state}\r\n`;
    return `${this.#fields}traceparent: ${formatTraceParent({ traceId, spanId, sampled })}\r\n${state}`;
  }

  /** @param error what kept the machine from answering */
  failed(error: string, nowMs: number): void {
    this.#attempt?.setAttribute("error.type", error);
    this.#attempt?.setStatus({ code: SpanStatusCode.ERROR });
    this.#endAttempt(nowMs);
  }

  /** The machine answered. */
  answered(status: number): void {
    const span = this.#attempt;
    if (span === null) return;
    span.setAttribute("http.response.status_code", status);
    if (status < 400) return;
    span.setAttribute("error.type", String(status));
    span.setStatus({ code: SpanStatusCode.ERROR });
  }

  /** The attempt is over and the exchange goes on. */
  left(nowMs: number): void {
    this.#endAttempt(nowMs);
  }

  finished(exchange: Exchange, nowMs: number): void {
    const { status, code, app, connectMs } = exchange;
    const attempt = this.#attempt;
    attempt?.setAttribute("godwit.connection.reused", connectMs === -1);
    if (code !== null && attempt !== null) {
      attempt.setAttribute("error.type", code);
      attempt.setStatus({ code: SpanStatusCode.ERROR });
    }
    this.#endAttempt(nowMs);
    const span = this.#server;
    span.setAttributes({
      "http.response.status_code": status,
      "http.request.body.size": exchange.bytesIn,
      "http.response.body.size": exchange.bytesOut,
      ...(app === null ? {} : { "godwit.app": app.name ?? app.id }),
    });
    if (code !== null) span.setAttribute("error.type", code);
    else if (status >= 500) span.setAttribute("error.type", String(status));
    if (status >= 500) span.setStatus({ code: SpanStatusCode.ERROR });
    span.end(this.#clock.wallOf(nowMs));
  }

  #endAttempt(nowMs: number): void {
    this.#attempt?.end(this.#clock.wallOf(nowMs));
    this.#attempt = null;
  }
}
