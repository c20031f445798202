/** Figures of this process, in Prometheus' text format. */
import { Counter, Gauge, Histogram, Registry } from "prom-client";

export class Metrics {
  readonly registry = new Registry();
  readonly requests = new Counter({
    name: "godwit_control_http_requests_total",
    help: "HTTP requests by route and status",
    labelNames: ["route", "status"],
    registers: [this.registry],
  });
  readonly requestSeconds = new Histogram({
    name: "godwit_control_http_request_seconds",
    help: "Time until the answer's head, by route",
    labelNames: ["route"],
    buckets: [0.005, 0.02, 0.1, 0.5, 2, 10, 60],
    registers: [this.registry],
  });
  readonly releases = new Counter({
    name: "godwit_control_releases_total",
    help: "Releases that finished, by how",
    labelNames: ["end"],
    registers: [this.registry],
  });
  readonly published = new Counter({
    name: "godwit_control_events_published_total",
    help: "State events appended to Redis",
    registers: [this.registry],
  });
  readonly publishFailures = new Counter({
    name: "godwit_control_publish_failures_total",
    help: "Tries to publish that failed",
    registers: [this.registry],
  });
  readonly digests = new Counter({
    name: "godwit_control_digests_published_total",
    help: "Digests of what was published that this process appended to Redis",
    registers: [this.registry],
  });
  readonly republications = new Counter({
    name: "godwit_control_republications_total",
    help: "Times that this process began to publish all rows again, by why",
    labelNames: ["reason"],
    registers: [this.registry],
  });
  readonly outboxDepth = new Gauge({
    name: "godwit_control_outbox_events",
    help: "State events that wait for Redis",
    registers: [this.registry],
  });
  readonly logFollowers = new Gauge({
    name: "godwit_control_log_followers",
    help: "Clients that follow logs; bounded",
    registers: [this.registry],
  });
  readonly guestStreams = new Gauge({
    name: "godwit_control_guest_streams",
    help: "Commands and files under way to and from machines; bounded",
    registers: [this.registry],
  });
  readonly limitsMet = new Counter({
    name: "godwit_control_limits_met_total",
    help: "Requests that met a bound, by which",
    labelNames: ["limit"],
    registers: [this.registry],
  });
}
