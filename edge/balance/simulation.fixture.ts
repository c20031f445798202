/** Requests that arrive at random at unequal machines, in simulated time, through the real pick. */
import { pick } from "../request/pick.ts";
import { ServiceRoute } from "../routes/app-route.ts";
import { Backend } from "../routes/backend.ts";
import { RegionDistances } from "./region-distance.ts";

export interface SimulatedMachine {
  readonly softLimit: number;
  readonly hardLimit: number;
  /** Mean; exponentially distributed. */
  readonly serviceMs: number;
}

export interface Spread {
  readonly mean: number;
  /** Largest and smallest as multiples of the mean. */
  readonly most: number;
  readonly least: number;
  /** Standard deviation as a share of the mean. */
  readonly deviation: number;
}

export interface SimulationResult {
  /** Of the time-averaged shares of the soft limit that machines had taken. */
  readonly load: Spread;
  /** Of the numbers of requests that machines got. */
  readonly requests: Spread;
  /** Requests that found every machine at its hard limit, and most waiting at once. */
  readonly queued: number;
  readonly queuedMost: number;
  readonly overHardLimit: number;
  /** Requests that went above a soft limit while a machine below its own was there. */
  readonly overSoftLimitInVain: number;
}

/** mulberry32: enough for a simulation, and the same everywhere. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export function simulate(
  machines: readonly SimulatedMachine[],
  requests: number,
  everyMs: number,
  random: () => number,
): SimulationResult {
  const count = machines.length;
  const service = new ServiceRoute(80);
  const index = new Map<Backend, number>();
  for (const [i, machine] of machines.entries()) {
    const backend = new Backend(`m${i}`, "ams", "192.0.2.1", 80);
    backend.softLimit = machine.softLimit;
    backend.hardLimit = machine.hardLimit;
    service.near.push(backend);
    index.set(backend, i);
  }
  const distances = new RegionDistances();
  const got = new Float64Array(count), area = new Float64Array(count), since = new Float64Array(count);
  const ends = new Ends();
  let nowMs = 0, arrived = 0, nextMs = 0, queue = 0, queued = 0, queuedMost = 0, overHard = 0, inVain = 0;

  const change = (i: number, by: 1 | -1) => {
    const backend = service.near[i]!;
    area[i]! += backend.inFlight / backend.softLimit * (nowMs - since[i]!);
    since[i] = nowMs;
    backend.inFlight += by;
  };
  const begin = (): boolean => {
    const picked = pick(service, distances, nowMs, random);
    if (typeof picked === "string") return false;
    const i = index.get(picked)!;
    if (picked.inFlight >= picked.hardLimit) overHard++;
    if (picked.inFlight >= picked.softLimit) {
      if (service.near.some((each) => each.inFlight < each.softLimit)) inVain++;
    }
    got[i]!++;
    change(i, 1);
    ends.add(nowMs - Math.log(1 - random()) * machines[i]!.serviceMs, i);
    return true;
  };
  while (arrived < requests || ends.size > 0) {
    if (arrived < requests && nextMs <= ends.nextMs) {
      nowMs = nextMs;
      arrived++;
      nextMs -= Math.log(1 - random()) * everyMs;
      if (queue === 0 && begin()) continue;
      queue++;
      queued++;
      queuedMost = Math.max(queuedMost, queue);
    } else {
      nowMs = ends.nextMs;
      change(ends.take(), -1);
      if (queue > 0 && begin()) queue--;
    }
  }
  for (let i = 0; i < count; i++) area[i]! /= nowMs;
  return {
    load: spread(area),
    requests: spread(got),
    queued,
    queuedMost,
    overHardLimit: overHard,
    overSoftLimitInVain: inVain,
  };
}

function spread(values: Float64Array): Spread {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
  return {
    mean,
    most: Math.max(...values) / mean,
    least: Math.min(...values) / mean,
    deviation: Math.sqrt(variance) / mean,
  };
}

/** Ends of requests, next one first: a binary heap. */
class Ends {
  #times: number[] = [];
  #machines: number[] = [];

  get size(): number {
    return this.#times.length;
  }
  get nextMs(): number {
    return this.#times.length === 0 ? Infinity : this.#times[0]!;
  }

  add(atMs: number, machine: number): void {
    const times = this.#times, machines = this.#machines;
    let at = times.length;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (times[parent]! <= atMs) break;
      times[at] = times[parent]!;
      machines[at] = machines[parent]!;
      at = parent;
    }
    times[at] = atMs;
    machines[at] = machine;
  }

  take(): number {
    const times = this.#times, machines = this.#machines;
    const taken = machines[0]!;
    const time = times.pop()!, machine = machines.pop()!;
    const size = times.length;
    if (size === 0) return taken;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= size) break;
      if (child + 1 < size && times[child + 1]! < times[child]!) child++;
      if (times[child]! >= time) break;
      times[at] = times[child]!;
      machines[at] = machines[child]!;
      at = child;
    }
    times[at] = time;
    machines[at] = machine;
    return taken;
  }
}
