/**
 * Traces of an edge, sent to an OTLP collector. Loaded only where the configuration asks for it: without tracing a request
 * pays one field test, and the process holds none of OpenTelemetry's SDK.
 *
 * Sampling follows the client's decision where it came with one, and else the ratio. Whoever may be traced is therefore
 * the clients' choice as well; what that can cost is bounded by the queue, and spans past it are lost.
 */
import type { Tracer } from "@opentelemetry/api";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { resourceFromAttributes } from "@opentelemetry/resources";
import {
  BatchSpanProcessor,
  ParentBasedSampler,
  type SpanExporter,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from "@opentelemetry/sdk-trace";
import type { Registry } from "prom-client";
import type { TracingConfig } from "../../control/contract/process-config.ts";
import type { Exchange } from "../request/exchange.ts";
import { family } from "../request/histogram.ts";
import { Trace } from "./trace.ts";

export const SPAN_QUEUE_MAX = 4_096;
export const SPAN_BATCH_MAX = 512;
export const SPAN_EXPORT_INTERVAL_MS = 1_000;
export const SPAN_EXPORT_WAIT_MS_MAX = 10_000;
/** Of one attribute: a target can be 8 KiB. */
const ATTRIBUTE_CHARACTERS_MAX = 2_048;

export interface TracingOptions {
  readonly config: TracingConfig;
  readonly edgeId: string;
  readonly region: string;
  readonly registry: Registry;
}

export class Tracing {
  readonly #provider: TracerProvider;
  readonly #tracer: Tracer;
  readonly #region: string;
  readonly #clock = { wallOf: (ms: number) => performance.timeOrigin + this.#driftMs + ms };
  #driftMs = 0;
  #driftReadMs = -Infinity;
  #sampled = 0;
  #exported = 0;
  #failed = 0;

  constructor({ config, edgeId, region, registry }: TracingOptions) {
    this.#region = region;
    const exporter = this.#counted(
      new OTLPTraceExporter({ url: config.otlp_url, timeoutMillis: SPAN_EXPORT_WAIT_MS_MAX }),
    );
    this.#provider = new TracerProvider({
      resource: resourceFromAttributes({ "service.name": "godwit-edge", "service.instance.id": edgeId }),
      sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(config.sample_ratio) }),
      spanLimits: { attributeValueLengthLimit: ATTRIBUTE_CHARACTERS_MAX },
      spanProcessors: [
        new BatchSpanProcessor({
          exporter,
          maxQueueSize: SPAN_QUEUE_MAX,
          maxExportBatchSize: SPAN_BATCH_MAX,
          scheduledDelayMillis: SPAN_EXPORT_INTERVAL_MS,
          exportTimeoutMillis: SPAN_EXPORT_WAIT_MS_MAX,
        }),
        {
          onStart: () => {},
          onEnd: () => void this.#sampled++,
          forceFlush: () => Promise.resolve(),
          shutdown: () => Promise.resolve(),
        },
      ],
    });
    this.#tracer = this.#provider.getTracer("godwit-edge");
    family(
      registry,
      "counter",
      "godwit_edge_spans_count",
      "Spans: recorded, taken by the collector, refused by it. What is recorded and neither was lost in a full queue.",
      () =>
        Object.entries({ recorded: this.#sampled, exported: this.#exported, failed: this.#failed }).map((
          [outcome, value],
        ) => ({ labels: { outcome }, value })),
    );
  }

  #counted(exporter: SpanExporter): SpanExporter {
    return {
      export: (spans, done) =>
        exporter.export(spans, (result) => {
          if (result.code === 0) this.#exported += spans.length;
          else this.#failed += spans.length;
          done(result);
        }),
      shutdown: () => exporter.shutdown(),
      forceFlush: () => exporter.forceFlush?.() ?? Promise.resolve(),
    };
  }

  begin(exchange: Exchange): Trace {
    // The wall clock may have been set since the process began.
    if (exchange.startedMs - this.#driftReadMs > 1_000) {
      this.#driftReadMs = exchange.startedMs;
      this.#driftMs = Date.now() - performance.timeOrigin - performance.now();
    }
    return new Trace(this.#tracer, this.#clock, exchange, this.#region);
  }

  flush(): Promise<void> {
    return this.#provider.forceFlush();
  }

  /** What is recorded goes out, unless the collector does not take it in time. */
  async close(): Promise<void> {
    await this.#provider.shutdown().catch(() => {});
  }
}
