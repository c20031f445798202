/** The agent's metrics, read out of its counts when somebody asks. */
import { Counter, Gauge, Registry } from "prom-client";
import { MemberState } from "../contract/membership.ts";
import type { Agent } from "./agent.ts";
import type { Feed } from "./feed.ts";

export function membershipMetrics(agent: Agent, feed: Feed): Registry {
  const registry = new Registry();
  const registers = [registry];
  const counter = (name: string, help: string, label: string | null, read: () => Record<string, number>) =>
    new Counter({
      name,
      help,
      labelNames: label === null ? [] : [label],
      registers,
      collect() {
        this.reset();
        for (const [value, count] of Object.entries(read())) {
          this.inc(label === null ? {} : { [label]: value }, count);
        }
      },
    });
  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read());
      },
    });
  const core = () => agent.membership.counts;

  new Gauge({
    name: "godwit_membership_members",
    help: "Hosts by state, the own one included.",
    labelNames: ["state"],
    registers,
    collect() {
      for (const state of MemberState.options) this.set({ state }, 0);
      for (const { state } of agent.lines()) this.inc({ state });
    },
  });
  gauge("godwit_membership_incarnation", "Of the own host.", () => agent.membership.incarnation);
  gauge(
    "godwit_membership_health_score",
    "0: well; higher: this host hears badly, and waits longer.",
    () => agent.membership.health.score,
  );
  gauge("godwit_membership_queue_news", "News still to be passed on.", () => agent.membership.queued);
  gauge("godwit_membership_readers", "Processes that are told of changes.", () => feed.readers);
  counter("godwit_membership_sent_count", "Datagrams sent.", "kind", () => core().sent);
  counter("godwit_membership_received_count", "Datagrams that came.", null, () => ({
    all: agent.counts.received,
  }));
  counter("godwit_membership_bytes_count", "Bytes of datagrams.", "direction", () => ({
    sent: agent.counts.sentBytes,
    received: agent.counts.receivedBytes,
  }));
  counter("godwit_membership_dropped_count", "Datagrams thrown away.", "reason", () => {
    const { oversize, unauthenticated, malformed, sendFailures } = agent.counts;
    return { oversize, unauthenticated, malformed, misdirected: core().misdirected, not_sent: sendFailures };
  });
  counter("godwit_membership_probes_count", "Probes.", "outcome", () => ({
    begun: core().probes,
    failed: core().probesFailed,
  }));
  counter("godwit_membership_suspicions_count", "Suspicions that began here.", null, () => ({
    all: core().suspicions,
  }));
  counter("godwit_membership_deaths_count", "Suspicions that ran out here.", null, () => ({
    all: core().deaths,
  }));
  counter(
    "godwit_membership_refutations_count",
    "Times that this host was said to be dead, and objected.",
    null,
    () => ({
      all: core().refutations,
    }),
  );
  counter("godwit_membership_stalls_count", "Times that this process stood still.", null, () => ({
    all: core().stalls,
  }));
  counter(
    "godwit_membership_twins_count",
    "Datagrams and news of another host with this one's name.",
    null,
    () => ({
      all: core().twins,
    }),
  );
  counter("godwit_membership_limit_met_count", "Times that a bound was met.", "limit", () => ({
    relays: core().relaysRefused,
    states: core().statesRefused,
    members: core().membersRefused,
    addresses: core().addressesRefused,
    readers: feed.counts.refused,
    unread: feed.counts.slow,
  }));
  return registry;
}
