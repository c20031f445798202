/**
 * An edge with a recording origin behind it, and the one question of each smuggling case: does anybody, in any reading,
 * see other messages than the edge has logged?
 */
import { expect } from "bun:test";
import type { EdgeOptions } from "../edge.ts";
import { RawClient, startTestEdge, type TestEdge, until } from "../edge.fixture.ts";
import { READINGS, RFC, seeRequests, seeResponses } from "./lenient-reader.ts";
import { RecordingOrigin } from "./recording-origin.fixture.ts";

export const HOST = "origin.test";
export const get = (target: string, fields = "") =>
  `GET ${target} HTTP/1.1\r\nHost: ${HOST}\r\n${fields}\r\n`;
export const post = (fields: string, body = "") =>
  `POST /first HTTP/1.1\r\nHost: ${HOST}\r\n${fields}\r\n${body}`;

export interface Logged {
  readonly method: string;
  readonly target: string;
  readonly status: number;
  readonly code: string | null;
  readonly machine: string | null;
}

export interface Hostile {
  readonly edge: TestEdge;
  readonly origin: RecordingOrigin;
  /** What the edge logs of each exchange, as it ends. */
  readonly log: Logged[];
  stop(): Promise<void>;
}

export async function startHostile(options: EdgeOptions = {}): Promise<Hostile> {
  const edge = await startTestEdge(options);
  const origin = await RecordingOrigin.start();
  await edge.app("origin", origin.port);
  const log: Logged[] = [];
  const handler = edge.edge.relay.handler;
  const finished = handler.finished.bind(handler);
  handler.finished = (exchange) => {
    const { head, status, code, servedBy } = exchange;
    if (!exchange.finished) {
      log.push({
        method: head.method,
        target: head.target,
        status,
        code,
        machine: servedBy?.machineId ?? null,
      });
    }
    finished(exchange);
  };
  return {
    edge,
    origin,
    log,
    async stop() {
      await origin.stop();
      await edge.stop();
    },
  };
}

export interface RequestCase {
  readonly name: string;
  /** Each part is sent once the one before has shown an effect. */
  readonly send: string | readonly string[];
  /** Statuses; `refused` is one answer of 400, 417, 431, 501 or 505. */
  readonly answers: readonly number[] | "refused";
  /** What the machine gets of it: none where refused. */
  readonly forwarded?: readonly string[];
  /** No reading here is fooled by these bytes; they are refused all the same. */
  readonly fools?: "nobody";
}

const REFUSALS = [400, 417, 431, 501, 505];
const PIECE = 7;

export async function runRequestCase(hostile: Hostile, one: RequestCase, inPieces: boolean): Promise<void> {
  const { edge, origin, log } = hostile;
  origin.take();
  log.length = 0;
  const refused = one.answers === "refused";
  const answers = one.answers === "refused" ? 1 : one.answers.length;
  const parts = typeof one.send === "string" ? [one.send] : one.send;
  const methods = (one.forwarded ?? []).map((start) => start.split(" ")[0]!);

  const client = await RawClient.open(edge.port);
  for (const [i, part] of parts.entries()) {
    const before = origin.bytes;
    await send(client, part, inPieces);
    if (i < parts.length - 1) await until(() => origin.bytes > before || client.bytes.length > 0);
  }
  const finals = () =>
    seeResponses(client.text, methods, RFC).messages.filter(({ start }) => Number(start) >= 200);
  await until(() => finals().length >= answers || client.ended);
  const got = finals().map(({ start }) => Number(start));
  if (refused) expect(REFUSALS).toContain(got[0]!);
  else expect(got).toEqual([...one.answers as readonly number[]]);

  // The next request on this connection gets its own answer, or the connection says that there is none.
  const next: string[] = [];
  if (refused) {
    await client.end();
    expect(finals().length).toBe(1);
  } else {
    next.push("GET /next");
    await send(client, get("/next"), inPieces);
    expect(await client.has("saw GET /next with 0")).toEndWith("\r\n\r\nsaw GET /next with 0");
    expect(finals().length).toBe(answers + 1);
  }
  const other = await RawClient.open(edge.port);
  expect(await other.send(get("/other")).has(" with 0")).toEndWith("\r\n\r\nsaw GET /other with 0");
  other.close();
  client.close();
  await until(() => log.length >= answers + next.length + 1);

  // Whatever the machine believes, it has seen what the edge has logged, and nothing else.
  const logged = log.filter(({ machine }) => machine !== null);
  const whole = logged.filter(({ code }) => code === null).map(startOf).sort();
  expect(whole).toEqual([...refused ? [] : one.forwarded ?? [], ...next, "GET /other"].sort());
  const taken = origin.take();
  for (const reading of READINGS) {
    const seen = taken.flatMap(({ text }) => seeRequests(text, reading).messages);
    expect(seen.map(({ start }) => start).sort(), reading.name).toEqual(whole);
    expect(seen.filter(({ host }) => host !== HOST), reading.name).toEqual([]);
    for (const { text } of taken) {
      expect(seeRequests(text, reading), reading.name).toEqual(seeRequests(text, RFC));
    }
  }
  // What is left over is a request that the edge refused in its body, and is the last on its connection.
  const cut = logged.filter(({ code }) => code !== null);
  const rests = taken.map(({ text }) => seeRequests(text, RFC).rest).filter((rest) => rest !== "");
  expect(rests.length).toBeLessThanOrEqual(cut.length);
  for (const rest of rests) expect(cut.map(startOf)).toContain(rest.split(" ").slice(0, 2).join(" "));

  if (one.fools !== "nobody") expect(fools(parts.join(""))).toBe(true);
}

const startOf = ({ method, target }: Logged) => `${method} ${target}`;

async function send(client: RawClient, text: string, inPieces: boolean): Promise<void> {
  if (!inPieces) return void client.send(text);
  client.socket.setNoDelay(true);
  for (let at = 0; at < text.length; at += PIECE) {
    client.send(text.slice(at, at + PIECE));
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Do two readings of these bytes, and of what a connection might carry next, differ? */
function fools(text: string): boolean {
  const all = text + get("/next");
  const first = JSON.stringify(seeRequests(all, RFC).messages);
  return READINGS.some((reading) => JSON.stringify(seeRequests(all, reading).messages) !== first);
}
