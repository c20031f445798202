/**
 * Requests at a constant rate, whatever the answers do: wrk sends the next when the last is answered, and so asks a slow
 * proxy less often. Latencies count from when a request was due if it had to wait for a free connection; where only this
 * program's timer was late they count from its sending, since that is no fault of the proxy's.
 *
 * Sends happen on a timer of 1 ms and after each answer, which spreads them. Prints one JSON object.
 */
import { RawClient } from "./raw-client.ts";

export interface PacedOptions {
  readonly port: number;
  readonly request: string;
  readonly connections: number;
  readonly perSecond: number;
  readonly seconds: number;
}

export interface PacedResult {
  readonly requests: number;
  readonly failures: number;
  readonly seconds: number;
  readonly p50_ms: number;
  readonly p99_ms: number;
  /** Requests that found no connection free. */
  readonly queued: number;
}

const options = JSON.parse(process.argv[2] ?? "{}") as PacedOptions;
const intervalMs = 1_000 / options.perSecond;
const total = Math.floor(options.perSecond * options.seconds);
const latencies = new Float64Array(total);
const free: RawClient[] = [];
let sent = 0, answered = 0, failures = 0, queued = 0, reportedQueued = 0;
const finished = Promise.withResolvers<void>();

const events = {
  onResponse(client: RawClient) {
    latencies[answered++] = performance.now() - client.startedMs;
    free.push(client);
    if (answered + failures === total) finished.resolve();
    else sendDue();
  },
  onFailure(_client: RawClient, reason: string) {
    if (failures++ === 0) console.error(reason);
    if (answered + failures === total) finished.resolve();
  },
};
for (let i = 0; i < options.connections; i++) free.push(await RawClient.open(options.port, events));

const fromMs = performance.now();
const timer = setInterval(sendDue, 1);
const late = setTimeout(finished.resolve, options.seconds * 1_000 + 5_000);
await finished.promise;
clearInterval(timer);
clearTimeout(late);
const seconds = (performance.now() - fromMs) / 1_000;
const sorted = latencies.subarray(0, answered).sort();
const at = (share: number) => Math.round((sorted[Math.floor(share * answered)] ?? 0) * 1_000) / 1_000;
const result: PacedResult = {
  requests: answered,
  failures: total - answered,
  seconds,
  p50_ms: at(0.5),
  p99_ms: at(0.99),
  queued,
};
console.log(JSON.stringify(result));
process.exit(0);

function sendDue(): void {
  const nowMs = performance.now();
  while (sent < total) {
    const dueMs = fromMs + sent * intervalMs;
    if (dueMs > nowMs) return;
    const client = free.pop();
    if (client === undefined) {
      // Counted once for each request, however often it is looked at.
      const due = Math.min(total, Math.floor((nowMs - fromMs) / intervalMs) + 1);
      queued += Math.max(0, due - Math.max(sent, reportedQueued));
      reportedQueued = Math.max(reportedQueued, due);
      return;
    }
    client.startedMs = sent < reportedQueued ? dueMs : nowMs;
    sent++;
    client.send(options.request);
  }
}
