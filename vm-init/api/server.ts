/** The control API of control/contract/guest-api.ts: HTTP/2 over whatever byte stream leads to the worker. */
import http2 from "node:http2";
import type { Duplex } from "node:stream";

import type { Life } from "../boot/life.ts";
import type { Stopper } from "../child/stop.ts";
import { collectNowAndThen } from "../system/collect.ts";
import { BootError } from "../system/error.ts";
import {
  answer,
  bodyOf,
  type Handler,
  numberOf,
  Refusal,
  refuse,
  type Routes,
  type Stream,
} from "./answer.ts";
import { guestRoutes } from "./guest-routes.ts";
import type { Execs } from "./execs.ts";
import type { Freezer } from "./freezer.ts";
import { listListeners } from "./listeners.ts";
import type { LogRing } from "./log-ring.ts";
import { statusOf } from "./status.ts";

const WAIT_MS_MAX = 60_000;
const STOP_TIMEOUT_S_MAX = 300;
const LOG_LINES_A_WRITE = 128;
/** What one call leaves behind for the engine to collect, about. */
const CALL_BYTES = 8_192;
/** More than the buffer holds, so that an ended app's last lines do not wait. */
const LOG_LINES_A_SECOND = 5_000;

export interface Parts {
  readonly life: Life;
  readonly log: LogRing;
  readonly stopper: Stopper;
  readonly execs: Execs;
  readonly freezer: Freezer;
  /** `POST /v1/restart`, its body not yet looked at: whether it is so, or will be. */
  readonly restart: (body: Record<string, unknown>) => boolean;
  /** `POST /v1/resumed`, likewise. */
  readonly resumed: (body: Record<string, unknown>) => unknown;
}

/** Speaks to one worker after the other over the streams it is given. */
export class ControlServer {
  readonly #server = http2.createServer();
  readonly #routes: Routes;

  constructor({ life, log, stopper, execs, freezer, restart, resumed }: Parts) {
    this.#routes = {
      ...guestRoutes({ log, execs, freezer }),
      "GET /v1/status": async (stream, query) => {
        await life.settled(Math.min(numberOf(query, "wait_ms"), WAIT_MS_MAX));
        const status = statusOf(life);
        if (status.failure !== null) stream.on("close", () => life.acknowledge());
        answer(stream, 200, status);
      },
      "GET /v1/exit": async (stream, query) => {
        const exit = await life.exited(numberOf(query, "run"));
        answer(stream, 200, exit);
      },
      "POST /v1/stop": async (stream) => {
        const { signal, timeout_s } = await bodyOf(stream);
        if (typeof signal !== "string" || typeof timeout_s !== "number" || !(timeout_s >= 0)) {
          throw new BootError("Cannot stop: the body must hold signal and timeout_s");
        }
        stopper.stop(signal, Math.min(timeout_s, STOP_TIMEOUT_S_MAX));
        life.stopping();
        answer(stream, 202);
      },
      "POST /v1/signals": async (stream) => {
        const { signal } = await bodyOf(stream);
        if (typeof signal !== "string") throw new BootError("Cannot signal: the body must hold signal");
        answer(stream, stopper.signal(signal) ? 204 : 409);
      },
      "GET /v1/logs": (stream, query) => sendLog(stream, log, numberOf(query, "from")),
      "GET /v1/listeners": (stream) => answer(stream, 200, listListeners()),
      "POST /v1/restart": async (stream) => answer(stream, restart(await bodyOf(stream)) ? 202 : 409),
      "POST /v1/resumed": async (stream) => answer(stream, 200, resumed(await bodyOf(stream))),
      "POST /v1/exit-ack": (stream) => {
        stream.on("close", () => life.acknowledge());
        answer(stream, 204);
      },
    };
    this.#server.on("stream", (stream: Stream, headers) => {
      // A worker that goes away in the middle is no event here: it comes back and asks again.
      stream.on("error", () => {});
      void this.#handle(stream, headers[":method"] ?? "", headers[":path"] ?? "/");
    });
    // Nor is a session that broke: the next connection starts afresh.
    this.#server.on("sessionError", () => {});
  }

  accept(connection: Duplex): void {
    connection.on("error", () => {});
    // A worker that says goodbye hears none: on a virtio-serial port it would reach the next one.
    this.#server.once("session", (session) => session.once("goaway", () => connection.destroy()));
    this.#server.emit("connection", connection);
  }

  async #handle(stream: Stream, method: string, target: string): Promise<void> {
    const [path = "", query = ""] = target.split("?");
    const handler: Handler | undefined = this.#routes[`${method} ${path}`];
    try {
      if (handler === undefined) {
        throw new Refusal("guest.no_such_path", `There is no ${method} ${path.slice(0, 200)}`, {
          fault: "us",
          status: 404,
        });
      }
      await handler(stream, new URLSearchParams(query));
    } catch (error) {
      refuse(stream, error);
    } finally {
      collectNowAndThen(CALL_BYTES);
    }
  }
}

/** From `seq` on, then live; ends once the process has ended and all was sent. */
async function sendLog(stream: Stream, log: LogRing, seq: number): Promise<void> {
  stream.respond({ ":status": 200, "content-type": "application/x-ndjson" });
  // One listener for the stream's whole life: a race against its end at each turn would keep a trace of each turn.
  let wake = () => {};
  for (const event of ["close", "drain"]) stream.on(event, () => wake());
  let next = seq;
  let [secondMs, inSecond] = [0, 0];
  while (!stream.destroyed) {
    // The worker reads all that comes: an app that writes without end must not keep it busy for itself.
    const nowMs = performance.now();
    if (nowMs - secondMs >= 1_000) [secondMs, inSecond] = [nowMs, 0];
    if (inSecond >= LOG_LINES_A_SECOND) {
      await Bun.sleep(1_000 - (nowMs - secondMs));
      continue;
    }
    const more = log.more();
    const lines = log.from(next, LOG_LINES_A_WRITE);
    const last = lines.at(-1);
    if (last !== undefined) {
      next = last.seq + 1;
      inSecond += lines.length;
      const text = lines.map((line) => JSON.stringify(line) + "\n").join("");
      collectNowAndThen(text.length);
      if (!stream.write(text)) await new Promise<void>((resolve) => wake = resolve);
    } else if (log.closed) {
      stream.end();
      return;
    } else {
      await new Promise<void>((resolve) => {
        wake = resolve;
        void more.then(resolve);
      });
    }
  }
}
