/** What balancing counts, and the metrics made of it when somebody asks. */
import { Counter, Gauge, type Registry } from "prom-client";
import type { AutostopPass } from "./autostop-pass.ts";
import type { PeerDoorway } from "./peer-door.ts";
import type { Starts } from "./starts.ts";
import type { Backend } from "../routes/backend.ts";

export class BalanceCounts {
  /** Requests that wait for a machine. */
  waiting = 0;
  /** By what they were for. */
  readonly ejections = new Map<string, number>();
  /** Machines that stayed although they failed, because half of their service was ejected. */
  ejectionsSpared = 0;
  probesAnswered = 0;
  probesFailed = 0;
  /** Requests that this edge sent back to the edge they came from, by why. */
  readonly sendBacks = new Map<string, number>();
  /** Requests that came back to this edge to be picked again. */
  sentBack = 0;
  /** Requests on the listener for peers that no edge of the fleet has written. */
  peersRefused = 0;
  /** Machines passed over now. */
  readonly ejected = new Set<Backend>();

  register(
    registry: Registry,
    own: Starts | null,
    peers: Starts<PeerDoorway> | null,
    autostop: AutostopPass | null,
  ): void {
    const starts = [own, peers].filter((each) => each !== null);
    const sum = (of: (each: Starts | Starts<PeerDoorway>) => number) =>
      starts.reduce((all, each) => all + of(each), 0);
    const registers = [registry];
    const counter = (name: string, help: string, label: string, read: () => Iterable<[string, number]>) =>
      new Counter({
        name,
        help,
        labelNames: label === "" ? [] : [label],
        registers,
        collect() {
          this.reset();
          for (const [value, count] of read()) this.inc(label === "" ? {} : { [label]: value }, count);
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
    gauge("godwit_edge_waiting", "Requests that wait for a machine.", () => this.waiting);
    gauge("godwit_edge_starts_pending", "Machines in line to be started.", () => sum((each) => each.pending));
    counter("godwit_edge_starts_count", "Machines to be started on demand.", "outcome", () => [
      ["asked", sum((each) => each.asked)],
      ["failed", sum((each) => each.failed)],
      ["refused", sum((each) => each.refused)],
      ["recently_stopped", sum((each) => each.spared)],
    ]);
    counter("godwit_edge_stops_count", "Idle machines to be stopped.", "outcome", () => [
      ["asked", autostop?.stopped ?? 0],
      ["failed", autostop?.failed ?? 0],
    ]);
    gauge("godwit_edge_ejected", "Machines passed over because they could not be reached.", () => {
      for (const backend of this.ejected) if (backend.retired) this.ejected.delete(backend);
      return this.ejected.size;
    });
    counter("godwit_edge_ejections_count", "Machines passed over.", "reason", () => this.ejections);
    counter("godwit_edge_ejections_spared_count", "Not passed over: half of the service was.", "", () => [
      ["", this.ejectionsSpared],
    ]);
    counter("godwit_edge_send_backs_count", "Sent back to the edge they came from.", "reason", () => {
      return this.sendBacks;
    });
    counter("godwit_edge_sent_back_count", "Came back to be picked again.", "", () => [["", this.sentBack]]);
    counter("godwit_edge_peers_refused_count", "Not from an edge of this fleet.", "", () => [
      ["", this.peersRefused],
    ]);
    counter("godwit_edge_probes_count", "Requests that tried a machine passed over.", "outcome", () => [
      ["answered", this.probesAnswered],
      ["failed", this.probesFailed],
    ]);
  }
}
