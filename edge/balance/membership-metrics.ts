/** What the edge says of its membership agent, read when somebody asks. */
import { Counter, Gauge, type Registry } from "prom-client";
import type { MembershipClient } from "./membership-client.ts";

export function registerMembership(registry: Registry, client: MembershipClient): void {
  const registers = [registry];
  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read());
      },
    });
  gauge("godwit_edge_dead_hosts", "Hosts whose machines are passed over.", () => client.dead.size);
  gauge(
    "godwit_edge_membership_connected",
    "1: the agent is heard; 0: rows alone count.",
    () => +client.connected,
  );
  gauge("godwit_edge_membership_distrusted", "1: too many are said to be dead.", () => +client.distrusted);
  new Counter({
    name: "godwit_edge_membership_lines_refused_count",
    help: "Lines of the agent that could not be read.",
    registers,
    collect() {
      this.reset();
      this.inc(client.linesRefused);
    },
  });
}
