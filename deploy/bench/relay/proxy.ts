/** A proxy under test: how one is started, and what the measurements ask of a running one. */
import { closeSync, openSync, readSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { freePort, type Server, startServer } from "../../servers/child.ts";
import { hostOf } from "../table-rows.ts";
import type { Backend } from "./backend.ts";
import type { Certificate } from "./certificate.ts";
import { type ProcessUsage, usageOf } from "./process-usage.ts";

export const PROXY_NAMES = ["godwit", "nginx", "haproxy", "caddy"] as const;
export type ProxyName = (typeof PROXY_NAMES)[number];

/** Where requests for the plain backend and for the WebSocket one go; each proxy routes by these. */
export const APP_HOST = hostOf(1, 0);
export const WEBSOCKET_HOST = hostOf(1, 1);

export interface ProxyPlan {
  /** This proxy's own. */
  readonly folder: string;
  readonly httpPort: number;
  readonly tlsPort: number;
  readonly backend: Backend;
  readonly certificate: Certificate;
  /** How many host names are in the edge's table; the peers have one rule for all. */
  readonly hosts: number;
  /** Null: no access log. */
  readonly logFile: string | null;
}

export interface Launch {
  readonly argv: readonly string[];
  readonly env?: Record<string, string>;
  /** Where stdout goes; HAProxy writes its log there. */
  readonly stdoutFile?: string;
}

/** Writes what configuration the proxy needs into the plan's folder. */
export type PlanLaunch = (plan: ProxyPlan) => Launch;

export class Proxy {
  readonly name: ProxyName;
  readonly plan: ProxyPlan;
  readonly #server: Server;
  #logBytesRead = 0;

  constructor(name: ProxyName, plan: ProxyPlan, server: Server) {
    this.name = name;
    this.plan = plan;
    this.#server = server;
  }

  get httpUrl(): string {
    return `http://127.0.0.1:${this.plan.httpPort}`;
  }

  /** By name: wrk sends what stands here as the server's name, and an address is none (RFC 6066 section 3). */
  get tlsUrl(): string {
    return `https://localhost:${this.plan.tlsPort}`;
  }

  usage(): ProcessUsage {
    return usageOf(this.#server.pid);
  }

  /** Lines that came into the access log since the last call. */
  takeLogLines(): number {
    if (this.plan.logFile === null) return 0;
    const { lines, end } = countLines(this.plan.logFile, this.#logBytesRead);
    this.#logBytesRead = end;
    return lines;
  }

  /** For quiet moments: logs of hundreds of megabytes would fill the disk. */
  emptyLog(): void {
    if (this.plan.logFile !== null) truncateSync(this.plan.logFile);
    this.#logBytesRead = 0;
  }

  stop(): Promise<void> {
    return this.#server.stop();
  }
}

export interface StartOptions extends Omit<ProxyPlan, "folder" | "httpPort" | "tlsPort" | "logFile"> {
  readonly folder: string;
  readonly logs: boolean;
  /** `taskset -c 0`, or nothing. */
  readonly prefix: readonly string[];
}

export async function startProxy(name: ProxyName, launch: PlanLaunch, options: StartOptions): Promise<Proxy> {
  const { folder, logs, prefix, ...rest } = options;
  const logFile = logs ? join(folder, "access.log") : null;
  if (logFile !== null) closeSync(openSync(logFile, "a", 0o666));
  const plan: ProxyPlan = {
    ...rest,
    folder,
    logFile,
    httpPort: await freePort(),
    tlsPort: await freePort(),
  };
  const { argv, env, stdoutFile } = launch(plan);
  const server = await startServer({
    name,
    argv: [...prefix, ...argv],
    ...(env === undefined ? {} : { env }),
    logFile: stdoutFile ?? join(folder, "said.log"),
    ready: () => answers(plan.httpPort),
  });
  return new Proxy(name, plan, server);
}

async function answers(port: number): Promise<boolean> {
  try {
    const response = await fetch(`http://127.0.0.1:${port}/small`, { headers: { host: APP_HOST } });
    await response.text();
    return response.ok;
  } catch {
    return false;
  }
}

const READ_BYTES = 1_048_576;
const LINE_FEED = 10;

function countLines(file: string, from: number): { lines: number; end: number } {
  const buffer = Buffer.alloc(READ_BYTES);
  const fd = openSync(file, "r");
  let lines = 0;
  let end = from;
  for (let count = 1; count > 0; end += count) {
    count = readSync(fd, buffer, 0, READ_BYTES, end);
    for (
      let at = buffer.indexOf(LINE_FEED);
      at !== -1 && at < count;
      at = buffer.indexOf(LINE_FEED, at + 1)
    ) {
      lines++;
    }
  }
  closeSync(fd);
  return { lines, end };
}
