/**
 * HTTP/3 beside a TLS listener. Its server takes certificates only when it starts, so new ones need a new server. Two servers
 * on one UDP port take each other's packets (measured: half of the connections break), therefore the two take turns on
 * two ports, and Alt-Svc (RFC 7838) tells clients which one is current: the old one serves on until what clients
 * remember has expired, then drains. A name is announced only while the current server has its certificate.
 */
import type { Logger } from "pino";
import { messageOf } from "../../control/contract/errors.ts";
import type { Client, ListenerInfo, RelayContext } from "../relay/relay-context.ts";
import type { Http3Certificate, Http3Client, Http3Port, Http3Server } from "../runtime/http3-port.ts";
import { Http3Request } from "./http3-request.ts";

export interface Http3Times {
  /** How long a client may remember where HTTP/3 is. */
  readonly altSvcS: number;
  /** Changes that come together make one new server. */
  readonly settleMs: number;
  /** After it is announced no more, and its announcements have expired, a server's connections have this long. */
  readonly drainMsMax: number;
}

export const HTTP3_TIMES: Http3Times = { altSvcS: 60, settleMs: 1_000, drainMsMax: 60_000 };

export interface Certificates {
  /** What can be used now, the default first. */
  opened(): Promise<readonly Http3Certificate[]>;
  /** A certificate other than the default answers for the name over TCP. */
  covers(name: string): boolean;
}

export interface Http3FrontOptions {
  readonly context: RelayContext;
  readonly port: Http3Port;
  readonly listener: ListenerInfo;
  readonly address: string;
  /** UDP ports that take turns. */
  readonly ports: readonly [number, number];
  readonly log: Logger;
  readonly certificates: Certificates;
  readonly times: Http3Times;
}

export class Http3Front implements Client {
  /** Requests under way. */
  active = 0;
  readonly #options: Http3FrontOptions;
  #current: Http3Server | null = null;
  #old: Http3Server | null = null;
  #turn = 0;
  #names: ReadonlySet<string> = new Set();
  #line = "";
  #timer: ReturnType<typeof setTimeout> | null = null;
  #changed = false;
  #stopped = false;

  constructor(options: Http3FrontOptions) {
    this.#options = options;
  }

  /** The UDP port that is announced. */
  get port(): number {
    return this.#current?.port ?? 0;
  }

  /** An older server still has connections. */
  get draining(): boolean {
    return this.#old !== null;
  }

  async start(): Promise<void> {
    this.#options.context.clients.add(this);
    await this.#listen();
  }

  async #listen(): Promise<void> {
    const { port, address, ports, context, certificates } = this.#options;
    const list = await certificates.opened();
    if (this.#stopped) return;
    const server = port.listen({
      address,
      port: ports[this.#turn % 2]!,
      certificates: list,
      idleMsMax: context.limits.clientIdleMsMax,
      bodyBytesMax: context.limits.bodyBytesMax,
      answer: (request, client) => this.#serve(request, client),
    });
    this.#turn++;
    this.#old = this.#current;
    this.#current = server;
    this.#names = new Set(list.flatMap(({ name }) => name === null ? [] : [name]));
    this.#line = `Alt-Svc: h3=":${server.port}"; ma=${this.#options.times.altSvcS}\r\n`;
  }

  #serve(request: Request, client: Http3Client): Promise<Response> {
    this.active++;
    return new Promise((resolve) => {
      const { context, listener } = this.#options;
      const one = new Http3Request(context, listener, request, client, resolve, () => this.active--);
      try {
        one.serve();
      } catch (error) {
        one.onFault(error);
      }
    });
  }

  /** @returns the line that tells a client of this name about HTTP/3, or nothing */
  altSvc(serverName: string | null): string {
    if (serverName === null || this.#current === null) return "";
    const dot = serverName.indexOf(".");
    const known = this.#names.has(serverName) || (dot !== -1 && this.#names.has(`*${serverName.slice(dot)}`));
    // Where the default answers there, it does so here.
    return known || !this.#options.certificates.covers(serverName) ? this.#line : "";
  }

  /** Rows of certificates have changed. */
  certificatesChanged(): void {
    this.#changed = true;
    if (this.#timer !== null || this.#old !== null || this.#stopped) return;
    this.#timer = setTimeout(() => void this.#change(), this.#options.times.settleMs);
  }

  async #change(): Promise<void> {
    this.#timer = null;
    this.#changed = false;
    try {
      await this.#listen();
    } catch (error) {
      this.#options.log.error({ err: messageOf(error) }, "HTTP/3 keeps its certificates: no new server");
      return;
    }
    const old = this.#old;
    if (old === null) return;
    const { altSvcS, drainMsMax } = this.#options.times;
    await pause(altSvcS * 1_000);
    const forced = setTimeout(() => void old.stop(true), drainMsMax);
    await old.stop(false);
    clearTimeout(forced);
    this.#old = null;
    if (this.#changed) this.certificatesChanged();
  }

  // ── as one of the edge's clients, for the drain ────────────────────────────────────────────────────────────────

  get busy(): boolean {
    return this.active > 0;
  }
  closeIfIdle(): void {
    this.#stopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    void this.#current?.stop(false);
  }
  close(): void {
    this.closeIfIdle();
    this.#options.context.clients.delete(this);
    void this.#current?.stop(true);
    void this.#old?.stop(true);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref());
}
