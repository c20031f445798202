/** The load clients, each a process of its own: wrk, h2load, and Bun programs where neither can do it. */
import { join } from "node:path";
import { GodwitError } from "../../../control/contract/errors.ts";

/** What one run of a client saw. */
export interface Load {
  readonly requests: number;
  readonly seconds: number;
  readonly bytes: number;
  /** Responses that were no 2xx, connections that broke, answers that were late. */
  readonly failures: number;
  /** Where the client says it. */
  readonly p99Us?: number;
}

export interface WrkOptions {
  readonly url: string;
  readonly host: string;
  readonly connections: number;
  readonly seconds: number;
  /** Announces `Connection: close`, so that each request needs a new connection. */
  readonly close?: boolean;
  readonly method?: string;
  readonly bodyBytes?: number;
}

const script = join(import.meta.dir, "wrk.lua");
/** A client that has not ended by then hangs. */
const GRACE_MS = 30_000;

export async function runWrk(prefix: readonly string[], options: WrkOptions): Promise<Load> {
  const { url, host, connections, seconds, close, method, bodyBytes } = options;
  const output = await runClient([
    ...prefix,
    "wrk",
    "-t1",
    `-c${connections}`,
    `-d${seconds}s`,
    "--timeout=10s",
    `-HHost: ${host}`,
    ...(close === true ? ["-HConnection: close"] : []),
    `-s${script}`,
    url,
    ...(method === undefined ? [] : ["--", method, String(bodyBytes ?? 0)]),
  ], seconds);
  const line = output.split("\n").find((text) => text.startsWith("{"));
  if (line === undefined) throw unreadable("wrk", output);
  const { requests, bytes, duration_us, failures, p99_us } = JSON.parse(line);
  return { requests, bytes, failures, seconds: duration_us / 1_000_000, p99Us: p99_us };
}

export async function runH2load(
  prefix: readonly string[],
  options: { url: string; host: string; connections: number; streams: number; seconds: number },
): Promise<Load> {
  const { url, host, connections, streams, seconds } = options;
  const output = await runClient([
    ...prefix,
    "h2load",
    "-t1",
    `-c${connections}`,
    `-m${streams}`,
    `-D${seconds}`,
    `-H:authority: ${host}`,
    url,
  ], seconds);
  return parseH2load(output, seconds);
}

/** Of `requests: 9 total, 9 started, 9 done, 9 succeeded, 0 failed, 0 errored, 0 timeout` and its neighbours. */
export function parseH2load(output: string, seconds: number): Load {
  const requests = /^requests: \d+ total, \d+ started, (\d+) done, (\d+) succeeded/m.exec(output);
  const statuses = /^status codes: (\d+) 2xx/m.exec(output);
  const traffic = /^traffic: .*\((\d+)\) total/m.exec(output);
  const protocol = /^Application protocol: (\S+)/m.exec(output);
  if (requests === null || statuses === null) throw unreadable("h2load", output);
  if (protocol?.[1] !== "h2") throw unreadable("h2load", `no HTTP/2 was negotiated\n${output}`);
  const done = Number(requests[1]);
  return { requests: done, seconds, bytes: Number(traffic?.[1] ?? 0), failures: done - Number(statuses[1]) };
}

/** One of this folder's programs; resolves to the JSON of its last line. */
export async function runProgram<T>(
  prefix: readonly string[],
  file: string,
  options: object,
  seconds: number,
) {
  const argv = [...prefix, process.execPath, join(import.meta.dir, file), JSON.stringify(options)];
  return JSON.parse((await runClient(argv, seconds)).trim().split("\n").at(-1) ?? "null") as T;
}

async function runClient(argv: string[], seconds: number): Promise<string> {
  const child = Bun.spawn(argv, {
    stdio: ["ignore", "pipe", "pipe"],
    timeout: seconds * 1_000 + GRACE_MS,
    killSignal: "SIGKILL",
  });
  const [output, errors] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (child.exitCode === 0) return output;
  throw unreadable(argv.find((word) => !word.startsWith("-")) ?? "client", `${output}\n${errors}`);
}

function unreadable(client: string, output: string): GodwitError {
  return new GodwitError(
    "bench.client_failed",
    `${client} gave no figures:\n${output.trim().slice(-1_500)}`,
    {
      fault: "us",
    },
  );
}
