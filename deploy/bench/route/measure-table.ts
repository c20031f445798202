/**
 * Fills one real route table the way the replica does and measures it: memory before and after, then the decision. A
 * process of its own, started by `../route.ts`, so that no earlier table is in its heap. Prints one JSON object.
 *
 * The host names that are looked up are fresh strings, made of bytes as the relay makes them: a string that had been a
 * key of the map would bring its hash along.
 */
import { RegionDistances } from "../../../edge/balance/region-distance.ts";
import { RouteTable } from "../../../edge/routes/route-table.ts";
import type { RowChange } from "../../../edge/routes/route-table.ts";
import { pick } from "../../../edge/request/pick.ts";
import { median } from "../rounds.ts";
import { seededRandom } from "../seeded-random.ts";
import {
  hostOf,
  planOf,
  REGION,
  SERVICE_PORT,
  SERVICE_SIZES,
  type ServiceSize,
  tableRows,
} from "../table-rows.ts";
import type { TablePlan } from "../table-rows.ts";
import { type Draw, uniform, zipf } from "./draws.ts";

/** As many as the replica reads at once. */
const BATCH_ROWS = 1_000;
const DECISIONS_PER_BATCH = 20_000;
const BATCHES = 15;
const SEED = 1;
const distances = new RegionDistances();

export interface TableMeasure {
  readonly machines: number;
  readonly hostnames: number;
  readonly rows: number;
  readonly apply_s: number;
  readonly rss_before_mb: number;
  readonly rss_after_mb: number;
  readonly bytes_per_machine: number;
  /** By service size or `all`, then by distribution. */
  readonly decision_us: Record<string, number>;
}

const machines = Number(process.argv[2]);
console.log(JSON.stringify(measure(planOf(machines))));

function measure(plan: TablePlan): TableMeasure {
  const table = new RouteTable({ region: REGION, nowMs: () => performance.now(), wallMs: () => Date.now() });
  // A first small table, dropped again: code that is compiled once is no row's memory.
  fill(new RouteTable({ region: "abc", nowMs: () => 0, wallMs: () => 0 }), planOf(2_000));
  const before = rssAfterCollection();
  const startedMs = performance.now();
  const rows = fill(table, plan);
  const applyS = (performance.now() - startedMs) / 1_000;
  const after = rssAfterCollection();
  const { machines, hostnames } = table.sizes;
  return {
    machines,
    hostnames,
    rows,
    apply_s: Math.round(applyS * 100) / 100,
    rss_before_mb: Math.round(before / 1_048_576),
    rss_after_mb: Math.round(after / 1_048_576),
    bytes_per_machine: Math.round((after - before) / machines),
    decision_us: decisions(table, plan),
  };
}

function fill(table: RouteTable, plan: TablePlan): number {
  let rows = 0;
  let batch: RowChange[] = [];
  for (const row of tableRows(plan)) {
    // Through JSON, as rows come: their strings are then their own.
    batch.push(JSON.parse(JSON.stringify(row)) as RowChange);
    rows++;
    if (batch.length < BATCH_ROWS) continue;
    table.apply(batch);
    batch = [];
  }
  table.apply(batch);
  return rows;
}

/** Collects until a collection frees nothing more; the allocator gives pages back a moment after. */
function rssAfterCollection(): number {
  let last = Infinity;
  for (let i = 0; i < 10; i++) {
    Bun.gc(true);
    Bun.shrink();
    Bun.sleepSync(200);
    const rss = process.memoryUsage.rss();
    if (i > 2 && rss > last * 0.995) return Math.min(rss, last);
    last = rss;
  }
  return last;
}

interface Distribution {
  readonly name: string;
  next(random: () => number): string;
}

function distributions(plan: TablePlan): Distribution[] {
  const found: Distribution[] = [];
  for (const [law, make] of [["uniform", uniform], ["zipf", zipf]] as const) {
    for (const size of SERVICE_SIZES) {
      const draw = make(plan[size]);
      found.push({ name: `${size}_${law}`, next: (random) => hostOf(size, draw(random)) });
    }
    found.push({ name: `all_${law}`, next: overAll(plan, make(plan[1] + plan[10] + plan[1_000])) });
  }
  return found;
}

/** Ranks are dealt to the sizes by a fixed shuffle, so that Zipf's first hosts are not all of one size. */
function overAll(plan: TablePlan, draw: Draw): (random: () => number) => string {
  const sizes = SERVICE_SIZES.flatMap((size) => new Array<ServiceSize>(plan[size]).fill(size));
  const indexes = SERVICE_SIZES.flatMap((size) => Array.from({ length: plan[size] }, (_, index) => index));
  const random = seededRandom(SEED);
  const order = Uint32Array.from(sizes, (_, i) => i);
  for (let i = order.length - 1; i > 0; i--) {
    const other = Math.floor(random() * (i + 1));
    [order[i], order[other]] = [order[other]!, order[i]!];
  }
  return (next) => {
    const at = order[draw(next)]!;
    return hostOf(sizes[at]!, indexes[at]!);
  };
}

function decisions(table: RouteTable, plan: TablePlan): Record<string, number> {
  const all = distributions(plan);
  const figures = new Map(all.map(({ name }) => [name, [] as number[]]));
  const random = seededRandom(SEED);
  // The first batch of each warms up and does not count.
  for (let batch = 0; batch <= BATCHES; batch++) {
    for (const distribution of batch % 2 === 0 ? all : [...all].reverse()) {
      const hosts = Array.from({ length: DECISIONS_PER_BATCH }, () => freshString(distribution.next(random)));
      const us = decide(table, hosts, random);
      if (batch > 0) figures.get(distribution.name)!.push(us);
    }
  }
  return Object.fromEntries([...figures].map(([name, us]) => [name, Math.round(median(us) * 1_000) / 1_000]));
}

function freshString(text: string): string {
  return Buffer.from(text, "latin1").toString("latin1");
}

/** @returns microseconds for one decision */
function decide(table: RouteTable, hosts: readonly string[], random: () => number): number {
  const nowMs = performance.now();
  let picked = 0;
  const from = Bun.nanoseconds();
  for (const host of hosts) {
    const service = table.find(host)?.services.get(SERVICE_PORT);
    if (service !== undefined && typeof pick(service, distances, nowMs, random) !== "string") picked++;
  }
  const us = (Bun.nanoseconds() - from) / 1_000 / hosts.length;
  if (picked !== hosts.length) {
    throw new Error(`${hosts.length - picked} of ${hosts.length} found no machine`);
  }
  return us;
}
