/** What handshakes count, with the reference's names where it has one (section 1.8). */
import type { Registry } from "prom-client";
import { family, Histogram } from "../request/histogram.ts";
import type { TlsRefusal } from "./tls-refusals.ts";

/** Server names with a label of their own; the others count together. */
export const NAMES_MAX = 1_000;
const OTHER = "_other";

export interface TlsSizes {
  readonly pending: number;
  readonly certificates: number;
  readonly contexts: number;
  readonly contextsEvicted: number;
  readonly certificatesUnusable: number;
  readonly bucketsForgotten: number;
}

export class TlsCounts {
  readonly #errors = new Map<string, number>();
  readonly #codes = new Map<string, number>();
  readonly #times = new Map<string, Histogram>();
  readonly #resumed = new Map<string, number>();

  /** @returns how often this code has been counted */
  refused(refusal: TlsRefusal, serverName: string | null, known: boolean): number {
    // Names come from whoever connects: only those that are ours get a label.
    let label = known && serverName !== null ? serverName : OTHER;
    if (!this.#errors.has(label) && this.#errors.size >= NAMES_MAX) label = OTHER;
    this.#errors.set(label, (this.#errors.get(label) ?? 0) + 1);
    const count = (this.#codes.get(refusal.code) ?? 0) + 1;
    this.#codes.set(refusal.code, count);
    return count;
  }

  done(version: string, resumed: boolean, seconds: number): void {
    let times = this.#times.get(version);
    if (times === undefined) this.#times.set(version, times = new Histogram());
    times.observe(seconds);
    if (resumed) this.#resumed.set(version, (this.#resumed.get(version) ?? 0) + 1);
  }

  register(registry: Registry, sizes: () => TlsSizes): void {
    const labelled = (name: string, help: string, label: string, values: ReadonlyMap<string, number>) =>
      family(
        registry,
        "counter",
        name,
        help,
        () => Array.from(values, ([key, value]) => ({ labels: { [label]: key }, value })),
      );
    labelled("fly_edge_tls_handshake_errors", "Handshakes that failed.", "servername", this.#errors);
    labelled("godwit_edge_tls_refused_count", "Handshakes that failed, by code.", "code", this.#codes);
    labelled(
      "godwit_edge_tls_resumed_count",
      "Handshakes that resumed a session.",
      "version",
      this.#resumed,
    );
    const times = "fly_edge_tls_handshake_time_seconds";
    family(
      registry,
      "histogram",
      times,
      "From the connection to the handshake's end.",
      () => Array.from(this.#times).flatMap(([version, histogram]) => histogram.samples(times, { version })),
    );
    const single = (
      type: "gauge" | "counter",
      name: string,
      help: string,
      read: (sizes: TlsSizes) => number,
    ) => family(registry, type, name, help, () => [{ labels: {}, value: read(sizes()) }]);
    single("gauge", "godwit_edge_tls_handshakes", "Handshakes under way.", (s) => s.pending);
    single("gauge", "godwit_edge_certificates", "Names with a certificate.", (s) => s.certificates);
    single("gauge", "godwit_edge_tls_contexts", "Certificates ready for use.", (s) => s.contexts);
    single(
      "counter",
      "godwit_edge_tls_contexts_evicted",
      "Certificates made ready anew later because there were too many.",
      (s) => s.contextsEvicted,
    );
    single(
      "counter",
      "godwit_edge_certificates_unusable",
      "Rows whose certificate or key cannot be used.",
      (s) => s.certificatesUnusable,
    );
    single(
      "counter",
      "godwit_edge_tls_buckets_forgotten",
      "Rate limits of handshakes forgotten before their time.",
      (s) => s.bucketsForgotten,
    );
  }
}
