/** What replays count, and the metrics made of it when somebody asks. */
import type { Registry } from "prom-client";
import { family } from "../request/histogram.ts";
import { KeptBodies } from "./kept-body.ts";

export class ReplayCounts {
  readonly bodies = new KeptBodies();
  replayed = 0;
  fellBack = 0;
  /** Instructions that came with a fallback's response. */
  disregarded = 0;
  /** Fields of instructions that Godwit does not have yet. */
  ignored = 0;

  register(registry: Registry): void {
    const one = (type: "counter" | "gauge", name: string, help: string, read: () => number) =>
      family(registry, type, name, help, () => [{ labels: {}, value: read() }]);
    one("counter", "godwit_edge_replays_count", "Requests sent on by fly-replay.", () => this.replayed);
    one("counter", "godwit_edge_replays_fallback_count", "Replays that came back.", () => this.fellBack);
    one(
      "counter",
      "godwit_edge_replays_disregarded_count",
      "Replays asked for in answer to a fallback.",
      () => this.disregarded,
    );
    one("counter", "godwit_edge_replay_fields_ignored_count", "transform and cache.", () => this.ignored);
    one(
      "gauge",
      "godwit_edge_replay_body_bytes",
      "Request bodies kept for a replay.",
      () => this.bodies.bytes,
    );
    one(
      "counter",
      "godwit_edge_replay_bodies_lost_count",
      "Bodies let go because all kept ones were too much.",
      () => this.bodies.overBudget,
    );
  }
}
