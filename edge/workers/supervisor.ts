/**
 * Keeps the workers of a shared port running. It carries no traffic and knows no routes: it starts processes, one at a
 * time so that it knows the order of their sockets; starts those anew that crash; and replaces each by a new one, which
 * listens before the old one is steered around (`steering-program.ts`), closes its listeners and drains.
 */
import type { Logger } from "pino";
import { GodwitError, messageOf } from "../../control/contract/errors.ts";
import type { News } from "../rows/pending-changes.ts";
import type { WorkerProcess } from "./child-process.ts";
import type { FromWorker, Page, ToWorker } from "./messages.ts";
import { NewsFeed } from "./news-feed.ts";
import { crashesInARow, restartDelayMs } from "./restart-delay.ts";
import { SocketOrder } from "./socket-order.ts";
import { steerAround, steerNowhere } from "./steering-program.ts";

/** A new worker reads its rows before it listens. */
export const START_WAIT_MS_MAX = 120_000;
/** Handshakes that were under way when a socket was steered around have ended by then. */
export const ACCEPT_GRACE_MS = 1_000;
export const ANSWER_WAIT_MS_MAX = 5_000;
/** After a worker's own limit for its drain. */
export const KILL_AFTER_MS = 5_000;

export interface SupervisorOptions {
  readonly workers: number;
  readonly fork: (worker: number) => WorkerProcess;
  readonly log: Logger;
  readonly nowMs: () => number;
  readonly random: () => number;
  /** How long connections of a worker that was replaced may live. */
  readonly drainMsMax: number;
  /** How long running requests may take once the edge stops. */
  readonly stopMsMax: number;
  readonly acceptGraceMs?: number;
  /** A worker cannot read the replica's file. */
  readonly onUnreadable?: () => void;
}

interface Worker {
  readonly id: number;
  readonly process: WorkerProcess;
  readonly feed: NewsFeed;
  readonly startedMs: number;
  readonly at: string[];
  readonly asked: Map<number, (page: Page) => void>;
  retired: boolean;
  gone: boolean;
  /** Resolvers of what it will say once. */
  onListening: (() => void) | null;
  onSteered: (() => void) | null;
  onClosed: (() => void) | null;
}

export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #seats: (Worker | null)[];
  readonly #crashes: number[];
  readonly #retiring = new Set<Worker>();
  /** Forked, and not listening yet. */
  readonly #starting = new Set<Worker>();
  readonly #orders = new Map<string, SocketOrder>();
  #turn: Promise<void> = Promise.resolve();
  #nextWorker = 0;
  #nextAsk = 0;
  #restartWaiting: Promise<void> | null = null;
  #stopping = false;
  /** Workers that ended without being asked to. */
  crashes = 0;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#seats = new Array<Worker | null>(options.workers).fill(null);
    this.#crashes = new Array<number>(options.workers).fill(0);
  }

  get counts(): { serving: number; wanted: number; retiring: number } {
    const serving = this.#seats.filter((worker) => worker !== null).length;
    return { serving, wanted: this.#seats.length, retiring: this.#retiring.size };
  }
  get stopping(): boolean {
    return this.#stopping;
  }

  /** @throws GodwitError `edge.worker_failed` where the first ones do not come up */
  async start(): Promise<void> {
    for (let seat = 0; seat < this.#seats.length; seat++) {
      await this.#inTurn(async () => void (this.#seats[seat] = await this.#begin(seat)));
    }
  }

  /** Replaces every worker, one after the other. What cannot start leaves the old ones where they are. */
  restart(): Promise<void> {
    // One that waits for its turn will take up whatever has changed by then.
    this.#restartWaiting ??= this.#inTurn(async () => {
      this.#restartWaiting = null;
      for (let seat = 0; seat < this.#seats.length && !this.#stopping; seat++) {
        const old = this.#seats[seat]!;
        const fresh = await this.#begin(seat);
        this.#seats[seat] = fresh;
        this.#crashes[seat] = 0;
        if (old !== null && !old.gone) await this.#retire(old, fresh);
      }
    }).catch((error) => {
      this.#options.log.error({ err: messageOf(error) }, "a new worker did not start; the old ones stay");
    });
    return this.#restartWaiting;
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    const all = [...this.#seats, ...this.#retiring].filter((worker) => worker !== null);
    await Promise.all(all.map((worker) => {
      worker.process.send({ type: "stop" });
      return this.#exited(worker, this.#options.stopMsMax);
    }));
  }

  tellAll(message: ToWorker): void {
    for (const worker of [...this.#all(), ...this.#starting]) worker.process.send(message);
  }

  /** Each worker at its own pace: one that is busy hears later, and of more at once. */
  tellNews(news: News): void {
    for (const { feed } of [...this.#all(), ...this.#starting]) {
      feed.pending.merge(news);
      feed.flush();
    }
  }

  /** Of every worker that answers in time, by its number. */
  async pages(path: string): Promise<Map<string, Page>> {
    const pages = new Map<string, Page>();
    await Promise.all(
      this.#all().map(async (worker) => {
        const page = await this.#ask(worker, path);
        if (page !== null) pages.set(String(worker.id), page);
      }),
    );
    return new Map([...pages].sort(([one], [two]) => Number(one) - Number(two)));
  }

  #all(): Worker[] {
    return [...this.#seats, ...this.#retiring].filter((worker) => worker !== null);
  }

  async #ask(worker: Worker, path: string): Promise<Page | null> {
    const ask = this.#nextAsk++;
    const answer = new Promise<Page>((resolve) => worker.asked.set(ask, resolve));
    worker.process.send({ type: "page", ask, path });
    const page = await within(
      Promise.race([answer, worker.process.exited.then(() => null)]),
      ANSWER_WAIT_MS_MAX,
    );
    worker.asked.delete(ask);
    return page;
  }

  /** One start or end of a listening socket at a time: their order is what steering goes by. */
  #inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => {});
    return done;
  }

  async #begin(seat: number): Promise<Worker> {
    const { fork, nowMs, log } = this.#options;
    const id = this.#nextWorker++;
    const process = fork(id);
    const feed = new NewsFeed((news) => process.send({ type: "news", news }));
    const worker: Worker = {
      ...{ id, process, feed, startedMs: nowMs(), at: [], asked: new Map() },
      ...{ retired: false, gone: false, onListening: null, onSteered: null, onClosed: null },
    };
    const listening = new Promise<true>((resolve) => worker.onListening = () => resolve(true));
    worker.process.onMessage((message) => this.#said(worker, message));
    const exited = worker.process.exited.then((how) => {
      this.#left(worker, seat, how);
      return how;
    });
    this.#starting.add(worker);
    const outcome = await within(Promise.race([listening, exited]), START_WAIT_MS_MAX);
    this.#starting.delete(worker);
    if (outcome === true) {
      log.info({ worker: id, worker_pid: worker.process.pid }, "worker listening");
      return worker;
    }
    worker.retired = true;
    worker.process.kill("SIGKILL");
    throw new GodwitError(
      "edge.worker_failed",
      `Worker ${id} did not start: ${outcome ?? "it took too long"}`,
      {
        fault: "us",
        hint: "What it said stands above.",
      },
    );
  }

  #said(worker: Worker, message: FromWorker): void {
    switch (message.type) {
      case "listening":
        worker.at.push(...message.at);
        for (const at of message.at) this.#order(at).join(worker.id);
        return worker.onListening?.();
      case "steered":
        return worker.onSteered?.();
      case "closed":
        this.#closed(worker);
        return worker.onClosed?.();
      case "more":
        return worker.feed.more(message.taken);
      case "unreadable":
        return this.#options.onUnreadable?.();
      case "page":
        return worker.asked.get(message.ask)?.(message.page);
    }
  }

  #order(at: string): SocketOrder {
    let order = this.#orders.get(at);
    if (order === undefined) this.#orders.set(at, order = new SocketOrder());
    return order;
  }

  #closed(worker: Worker): void {
    for (const at of worker.at) this.#order(at).leave(worker.id);
    worker.at.length = 0;
  }

  #left(worker: Worker, seat: number, how: string): void {
    const { log, nowMs, random } = this.#options;
    worker.gone = true;
    this.#closed(worker);
    this.#retiring.delete(worker);
    if (worker.retired || this.#stopping) return;
    this.crashes++;
    if (this.#seats[seat] !== worker) return;
    this.#seats[seat] = null;
    const crashes = this.#crashes[seat] = crashesInARow(this.#crashes[seat]!, nowMs() - worker.startedMs);
    const delayMs = restartDelayMs(crashes, random);
    log.error(
      { worker: worker.id, how, crashes, delay_ms: Math.round(delayMs) },
      "worker ended; starting another",
    );
    setTimeout(() => this.#refill(seat), delayMs);
  }

  #refill(seat: number): void {
    const { log, random } = this.#options;
    void this.#inTurn(async () => {
      if (this.#stopping || this.#seats[seat] !== null) return;
      this.#seats[seat] = await this.#begin(seat);
    }).catch((error) => {
      const crashes = this.#crashes[seat] = this.#crashes[seat]! + 1;
      log.error({ err: messageOf(error), crashes }, "a worker did not start; trying again");
      setTimeout(() => this.#refill(seat), restartDelayMs(crashes, random));
    });
  }

  /** Its sockets get no new connections, then close; it exits once it has drained, which nobody waits for. */
  async #retire(old: Worker, by: Worker): Promise<void> {
    const { drainMsMax, acceptGraceMs = ACCEPT_GRACE_MS } = this.#options;
    old.retired = true;
    this.#retiring.add(old);
    const shared = old.at.filter((at) => by.at.includes(at));
    await this.#steer(by, shared, (order) => steerAround(order.indexOf(old.id), order.count));
    await sleep(acceptGraceMs);
    const closed = new Promise<void>((resolve) => old.onClosed = resolve);
    old.process.send({ type: "retire", drainMsMax });
    await within(Promise.race([closed, old.process.exited]), ANSWER_WAIT_MS_MAX);
    await this.#steer(by, shared, (order) => steerNowhere(order.count));
    void this.#exited(old, drainMsMax);
  }

  async #steer(
    by: Worker,
    shared: readonly string[],
    program: (order: SocketOrder) => Uint8Array,
  ): Promise<void> {
    const ports = shared.filter((at) => this.#order(at).count > 1).map((at) => ({
      at,
      program: Buffer.from(program(this.#order(at))).toString("base64"),
    }));
    const steered = new Promise<void>((resolve) => by.onSteered = resolve);
    by.process.send({ type: "steer", ports });
    await within(Promise.race([steered, by.process.exited]), ANSWER_WAIT_MS_MAX);
  }

  /** Ends it by force where it does not end by itself in time. */
  async #exited(worker: Worker, drainMsMax: number): Promise<void> {
    const timer = setTimeout(() => worker.process.kill("SIGKILL"), drainMsMax + KILL_AFTER_MS);
    await worker.process.exited;
    clearTimeout(timer);
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** @returns null where it took longer */
async function within<T>(promise: Promise<T>, ms: number): Promise<T | null> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<null>((resolve) => timer = setTimeout(() => resolve(null), ms));
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
