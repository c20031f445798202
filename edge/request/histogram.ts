/** A histogram in plain numbers, and families of metrics that are read from such numbers when somebody asks. */
import type { Counter, Registry } from "prom-client";

/** Upper bounds in seconds; what is above the last counts in a bucket of its own. */
export const TIME_BUCKETS_S = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
const BOUNDS = [...TIME_BUCKETS_S.map(String), "+Inf"];

export function bucketOf(seconds: number): number {
  let bucket = 0;
  while (bucket < TIME_BUCKETS_S.length && seconds > TIME_BUCKETS_S[bucket]!) bucket++;
  return bucket;
}

export class Histogram {
  readonly #counts = new Float64Array(BOUNDS.length);
  #sum = 0;

  observe(seconds: number): void {
    this.add(bucketOf(seconds), seconds);
  }

  /** @param bucket `bucketOf(seconds)`, for who adds the same to several histograms */
  add(bucket: number, seconds: number): void {
    this.#counts[bucket]!++;
    this.#sum += seconds;
  }

  get count(): number {
    return this.#counts.reduce((sum, count) => sum + count, 0);
  }

  samples(name: string, labels: Labels): Sample[] {
    let count = 0;
    const samples: Sample[] = BOUNDS.map((le, bucket) => ({
      metricName: `${name}_bucket`,
      labels: { ...labels, le },
      value: count += this.#counts[bucket]!,
    }));
    samples.push({ metricName: `${name}_sum`, labels, value: this.#sum });
    samples.push({ metricName: `${name}_count`, labels, value: count });
    return samples;
  }
}

export type Labels = Readonly<Record<string, string>>;

export interface Sample {
  /** The family's name where it is absent. */
  readonly metricName?: string;
  readonly labels: Labels;
  readonly value: number;
}

/**
 * Registers a family whose samples are made when the page is asked for. prom-client's own metrics would have to be told
 * each event, or be emptied and filled again; its registry takes whatever answers `get()`.
 */
export function family(
  registry: Registry,
  type: "counter" | "gauge" | "histogram",
  name: string,
  help: string,
  samples: () => Sample[],
): void {
  const get = () => Promise.resolve({ name, help, type, aggregator: "sum", values: samples() });
  registry.registerMetric({ name, get } as unknown as Counter);
}
