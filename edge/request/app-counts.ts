/**
 * What is counted for each app, and which apps are counted by name. The numbers hang on the app's route, so that a
 * request adds to them without looking anything up. Labels are bounded: the first `APP_LABELS_MAX` apps that get a request
 * have their own, and a busy app comes early; the others count together as `_other`, which can be no app's name. An app that
 * is gone leaves its place.
 */
import type { Registry } from "prom-client";
import type { AppRoute } from "../routes/app-route.ts";
import { family, Histogram, type Labels, type Sample } from "./histogram.ts";

/** Of any response that is counted (RFC 9110 section 15). */
export const STATUS_MAX = 599;
/** One app takes about 40 lines of the metrics page. */
export const APP_LABELS_MAX = 200;

const OTHER = "_other";

export class AppCounts {
  readonly #statuses = new Float64Array(STATUS_MAX + 1);
  readonly responseTimes = new Histogram();
  readonly connectTimes = new Histogram();
  connects = 0;
  disconnects = 0;
  bytesIn = 0;
  bytesOut = 0;

  /** @param bucket `bucketOf(seconds)` */
  response(status: number, bucket: number, seconds: number): void {
    this.#statuses[status]!++;
    this.responseTimes.add(bucket, seconds);
  }

  responses(labels: Labels): Sample[] {
    const samples: Sample[] = [];
    this.#statuses.forEach((value, status) => {
      if (value > 0) samples.push({ labels: { ...labels, status: String(status) }, value });
    });
    return samples;
  }
}

export class CountedApps {
  readonly #labelsMax: number;
  readonly #named = new Map<AppRoute, AppCounts>();
  readonly #other = new AppCounts();
  /** Apps that came when all labels were given away. */
  unnamed = 0;

  constructor(registry: Registry, labelsMax: number = APP_LABELS_MAX) {
    this.#labelsMax = labelsMax;
    const each = (samples: (counts: AppCounts, labels: Labels) => Sample[]) => () =>
      this.#labelled().flatMap(([labels, counts]) => samples(counts, labels));
    const count = (name: string, help: string, read: (counts: AppCounts) => number) =>
      family(registry, "counter", name, help, each((counts, labels) => [{ labels, value: read(counts) }]));
    const times = (name: string, help: string, read: (counts: AppCounts) => Histogram) =>
      family(registry, "histogram", name, help, each((counts, labels) => read(counts).samples(name, labels)));
    family(
      registry,
      "counter",
      "fly_app_http_responses_count",
      "Responses of an app, refusals for its sake included, by status.",
      each((counts, labels) => counts.responses(labels)),
    );
    times(
      "fly_app_http_response_time_seconds",
      "From a request's head to its response's last byte.",
      (counts) => counts.responseTimes,
    );
    times(
      "fly_app_connect_time_seconds",
      "To connect to a machine of the app.",
      (counts) => counts.connectTimes,
    );
    count(
      "fly_app_tcp_connects_count",
      "Connections made to the app's machines.",
      (counts) => counts.connects,
    );
    count(
      "fly_app_tcp_disconnects_count",
      "Connections to the app's machines that ended.",
      (counts) => counts.disconnects,
    );
    count(
      "godwit_app_data_in",
      "Bytes of request bodies and tunnels to the app.",
      (counts) => counts.bytesIn,
    );
    count(
      "godwit_app_data_out",
      "Bytes of response bodies and tunnels of the app.",
      (counts) => counts.bytesOut,
    );
    family(
      registry,
      "gauge",
      "fly_app_concurrency",
      "Requests that the app's machines have under way from this edge; of apps with a label of their own.",
      () => this.#concurrency(),
    );
  }

  /** Where an app's requests count. Once for each app, which keeps it. */
  of(app: AppRoute): AppCounts {
    if (this.#named.size >= this.#labelsMax) this.#forgetGone();
    if (this.#named.size >= this.#labelsMax) {
      this.unnamed++;
      return app.counts = this.#other;
    }
    const counts = new AppCounts();
    this.#named.set(app, counts);
    return app.counts = counts;
  }

  #forgetGone(): void {
    for (const app of this.#named.keys()) {
      if (
        app.name !== null || [...app.services.values()].some(({ near, far }) => near.length + far.length > 0)
      ) continue;
      this.#named.delete(app);
      app.counts = null;
    }
  }

  #labelled(): [Labels, AppCounts][] {
    this.#forgetGone();
    const all = Array.from(
      this.#named,
      ([app, counts]): [Labels, AppCounts] => [{ app: app.name ?? app.id }, counts],
    );
    if (this.unnamed > 0) all.push([{ app: OTHER }, this.#other]);
    return all;
  }

  #concurrency(): Sample[] {
    this.#forgetGone();
    return Array.from(this.#named.keys(), (app) => {
      const machines = new Set([...app.services.values()].flatMap((service) => [...service.backends()]));
      let value = 0;
      for (const { inFlight } of machines) value += inFlight;
      return { labels: { app: app.name ?? app.id }, value };
    });
  }
}
