/** The worker's metrics. Names end in their unit. */
import { Counter, Gauge, Histogram, Registry } from "prom-client";

export class Metrics {
  readonly registry = new Registry();
  readonly operations = new Counter({
    name: "godwit_worker_operations_total",
    help: "Operations that ended, by kind and outcome (done, or the code of the error)",
    labelNames: ["kind", "outcome"],
    registers: [this.registry],
  });
  readonly stepFailures = new Counter({
    name: "godwit_worker_step_failures_total",
    help: "Failed tries of an operation's step",
    labelNames: ["kind", "step"],
    registers: [this.registry],
  });
  readonly bootSeconds = new Histogram({
    name: "godwit_worker_boot_seconds",
    help: "From the start of the VMM until the user's process was spawned",
    buckets: [0.05, 0.1, 0.2, 0.5, 1, 2, 3, 5, 8, 13, 25, 60],
    registers: [this.registry],
  });
  readonly suspendSeconds = new Histogram({
    name: "godwit_worker_suspend_seconds",
    help: "From the call until a machine's memory is on disk and its VM is gone",
    buckets: [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60],
    registers: [this.registry],
  });
  readonly resumeSeconds = new Histogram({
    name: "godwit_worker_resume_seconds",
    help: "From the start of the VMM until a suspended guest ran again",
    buckets: [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60],
    registers: [this.registry],
  });
  readonly resumes = new Counter({
    name: "godwit_worker_resumes_total",
    help:
      "Starts of suspended machines by outcome: resumed, or booted anew because their memory could not be taken up",
    labelNames: ["outcome"],
    registers: [this.registry],
  });
  readonly silentBoots = new Counter({
    name: "godwit_worker_silent_boots_total",
    help: "Boots that were given up and tried again because the guest said nothing within its bound",
    registers: [this.registry],
  });
  readonly guestReconnects = new Counter({
    name: "godwit_worker_guest_reconnects_total",
    help: "Control streams to guests that broke and were opened again",
    registers: [this.registry],
  });
  readonly published = new Counter({
    name: "godwit_worker_published_events_total",
    help: "State events that Redis has acknowledged",
    registers: [this.registry],
  });
  readonly publishFailures = new Counter({
    name: "godwit_worker_publish_failures_total",
    help: "Tries to publish that failed",
    registers: [this.registry],
  });
  readonly digests = new Counter({
    name: "godwit_worker_digests_published_total",
    help: "Digests of what was published that were appended to Redis",
    registers: [this.registry],
  });
  readonly republications = new Counter({
    name: "godwit_worker_republications_total",
    help: "Times that all rows were published again, by why",
    labelNames: ["reason"],
    registers: [this.registry],
  });
  readonly outboxEntries = new Gauge({
    name: "godwit_worker_outbox_entries",
    help: "State events that wait for Redis",
    registers: [this.registry],
  });
  readonly logLines = new Counter({
    name: "godwit_worker_log_lines_total",
    help: "Log lines by what became of them: shipped, dropped (the queue was full)",
    labelNames: ["outcome"],
    registers: [this.registry],
  });
  readonly orphans = new Counter({
    name: "godwit_worker_orphans_removed_total",
    help: "What the sweep found without an owner",
    labelNames: ["what"],
    registers: [this.registry],
  });
  readonly registrationFailures = new Counter({
    name: "godwit_worker_registration_failures_total",
    help: "Tries to register with control that failed",
    registers: [this.registry],
  });
  readonly machines = new Gauge({
    name: "godwit_worker_machines",
    help: "Machines on this host by state",
    labelNames: ["state"],
    registers: [this.registry],
  });
}
