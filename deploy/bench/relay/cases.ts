/** What is measured of each proxy. Each case says how its figure reads and runs once for one proxy. */
import { assert, GodwitError } from "../../../control/contract/errors.ts";
import type { HandshakeOptions, HandshakeResult } from "./handshake-load.ts";
import { IDLE_CONNECTIONS, measureIdleConnections } from "./idle-connections.ts";
import { type Load, runH2load, runProgram, runWrk, type WrkOptions } from "./load.ts";
import type { PacedOptions, PacedResult } from "./paced-load.ts";
import { APP_HOST, type Proxy, WEBSOCKET_HOST } from "./proxy.ts";
import type { WebSocketOptions, WebSocketResult } from "./websocket-load.ts";

export interface Reading {
  readonly name: string;
  readonly unit: "requests/s" | "MB/s" | "KB" | "ms";
  readonly better: "higher" | "lower";
}

export interface RunContext {
  readonly proxy: Proxy;
  readonly seconds: number;
  /** Before each client's command, `taskset -c 1`. */
  readonly prefix: readonly string[];
  /** Half of what the slowest of the edge, nginx and HAProxy can do. */
  readonly halfRate: () => Promise<number>;
  /** The same proxy anew, to be stopped by the case. */
  readonly startFresh: () => Promise<Proxy>;
}

export interface Run {
  /** One for each reading of the case, in their order. */
  readonly figures: readonly number[];
  readonly requests: number;
  readonly failures: number;
  /** What the access log must have grown by at least. */
  readonly logLines: number;
}

export interface RelayCase {
  readonly name: string;
  readonly readings: readonly Reading[];
  readonly tls: boolean;
  /** Measured without access logs too. */
  readonly withoutLogs: boolean;
  run(context: RunContext): Promise<Run>;
}

const CONNECTIONS = 64;
const BULK_CONNECTIONS = 4;
const H2_CONNECTIONS = 16;
const H2_STREAMS = 16;
const HANDSHAKES_AT_ONCE = 16;
const MESSAGE_BYTES = 63;
const BYTES_PER_MB = 1_000_000;

type Wrk = Partial<WrkOptions> & { readonly path: string; readonly tls?: boolean };

function wrkCase(
  name: string,
  unit: "requests/s" | "MB/s",
  { path, tls = false, ...options }: Wrk,
): RelayCase {
  return {
    name,
    readings: [{ name, unit, better: "higher" }],
    tls,
    withoutLogs: true,
    async run({ proxy, seconds, prefix }) {
      const url = (tls ? proxy.tlsUrl : proxy.httpUrl) + path;
      const load = await runWrk(prefix, {
        connections: CONNECTIONS,
        seconds,
        host: APP_HOST,
        url,
        ...options,
      });
      return ofLoad(load, unit === "MB/s" ? load.bytes / BYTES_PER_MB : load.requests);
    },
  };
}

function ofLoad(load: Load, amount: number): Run {
  const { requests, failures, seconds } = load;
  return { figures: [amount / seconds], requests, failures, logLines: requests };
}

const tlsHandshake: RelayCase = {
  name: "tls_handshake",
  readings: [{ name: "tls_handshake", unit: "requests/s", better: "higher" }],
  tls: true,
  withoutLogs: true,
  async run({ proxy, seconds, prefix }) {
    const options: HandshakeOptions = {
      port: proxy.plan.tlsPort,
      host: APP_HOST,
      connections: HANDSHAKES_AT_ONCE,
      seconds,
    };
    const result = await runProgram<HandshakeResult>(prefix, "handshake-load.ts", options, seconds);
    const { requests, failures, resumed } = result;
    assert(resumed === 0, "sessions were resumed, so these were no full handshakes");
    return { figures: [requests / result.seconds], requests, failures, logLines: requests };
  },
};

const http2: RelayCase = {
  name: "http2",
  readings: [{ name: "http2", unit: "requests/s", better: "higher" }],
  tls: true,
  withoutLogs: true,
  async run({ proxy, seconds, prefix }) {
    const url = `${proxy.tlsUrl}/small`;
    const load = await runH2load(prefix, {
      ...{ url, host: APP_HOST, connections: H2_CONNECTIONS, streams: H2_STREAMS, seconds },
    });
    return ofLoad(load, load.requests);
  },
};

const websocketEcho: RelayCase = {
  name: "websocket_echo",
  readings: [{ name: "websocket_echo", unit: "requests/s", better: "higher" }],
  tls: false,
  withoutLogs: false,
  async run({ proxy, seconds, prefix }) {
    const options: WebSocketOptions = {
      port: proxy.plan.httpPort,
      host: WEBSOCKET_HOST,
      connections: CONNECTIONS,
      messageBytes: MESSAGE_BYTES,
      seconds,
    };
    const result = await runProgram<WebSocketResult>(prefix, "websocket-load.ts", options, seconds);
    const { requests, failures } = result;
    return { figures: [requests / result.seconds], requests, failures, logLines: CONNECTIONS };
  },
};

const idleConnection: RelayCase = {
  name: "idle_connection",
  readings: [{ name: "idle_connection", unit: "KB", better: "lower" }],
  tls: false,
  withoutLogs: false,
  async run({ startFresh, prefix }) {
    const proxy = await startFresh();
    try {
      const kb = await measureIdleConnections(proxy, prefix);
      return { figures: [kb], requests: IDLE_CONNECTIONS, failures: 0, logLines: 0 };
    } finally {
      await proxy.stop();
    }
  },
};

const latency: RelayCase = {
  name: "latency",
  readings: [
    { name: "latency_p50", unit: "ms", better: "lower" },
    { name: "latency_p99", unit: "ms", better: "lower" },
  ],
  tls: false,
  withoutLogs: false,
  async run({ proxy, seconds, prefix, halfRate }) {
    const options: PacedOptions = {
      port: proxy.plan.httpPort,
      request: `GET /small HTTP/1.1\r\nHost: ${APP_HOST}\r\n\r\n`,
      connections: CONNECTIONS,
      perSecond: await halfRate(),
      seconds,
    };
    const result = await runProgram<PacedResult>(prefix, "paced-load.ts", options, seconds);
    const { requests, failures, p50_ms, p99_ms } = result;
    return { figures: [p50_ms, p99_ms], requests, failures, logLines: requests };
  },
};

export const SMALL_GET = wrkCase("small_get", "requests/s", { path: "/small" });

export const CASES: readonly RelayCase[] = [
  SMALL_GET,
  wrkCase("new_connection", "requests/s", { path: "/small", close: true }),
  wrkCase("body_64k", "requests/s", { path: "/64k" }),
  wrkCase("body_64m", "MB/s", { path: "/64m", connections: BULK_CONNECTIONS }),
  wrkCase("post_16k", "requests/s", { path: "/sink", method: "POST", bodyBytes: 16_384 }),
  wrkCase("tls_keep_alive", "requests/s", { path: "/small", tls: true }),
  tlsHandshake,
  http2,
  websocketEcho,
  idleConnection,
  latency,
];

/** @param names of `--cases`, separated by commas; null: all */
export function chosenCases(names: string | null): readonly RelayCase[] {
  if (names === null) return CASES;
  return names.split(",").map((name) => {
    const found = CASES.find((one) => one.name === name);
    if (found !== undefined) return found;
    throw new GodwitError("bench.invalid_option", `--cases: there is no case ${name}`, {
      fault: "client",
      hint: `there are: ${CASES.map((one) => one.name).join(", ")}`,
    });
  });
}
