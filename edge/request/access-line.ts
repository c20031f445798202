/**
 * The line that the access log gets for a request: JSON, its keys always the same and in the same order, plain ASCII, and
 * at most `LINE_BYTES_MAX` long whatever a client sends. `edge/README.md` says what each key means.
 *
 * A line is the largest cost of a request after its parsing. What repeats is therefore made once and kept as bytes: what
 * is said of a client's connection, of a machine, of a status, of a kind of browser.
 */
import type { Downstream } from "../relay/downstream.ts";
import type { Backend } from "../routes/backend.ts";
import type { Exchange } from "./exchange.ts";
import { LineBuffer } from "./line-buffer.ts";

/** Characters that are logged of a target, and of a client's name for itself. */
export const TARGET_LOGGED_MAX = 2_048;
export const USER_AGENT_LOGGED_MAX = 512;
/** An escaped character takes six bytes; all else in a line is bounded by what the parser lets in. */
export const LINE_BYTES_MAX = 6 * (TARGET_LOGGED_MAX + USER_AGENT_LOGGED_MAX) + 4_096;
const SERVER_NAME_LOGGED_MAX = 255;

const bytesOf = (text: string): Uint8Array => Buffer.from(text, "latin1");
const HOST = bytesOf(`","host":"`);
const TARGET = bytesOf(`","target":"`);
const NO_APP_NO_MACHINE = bytesOf(`null,"machine":null,"machine_region":null,"upstream":null`);
const NO_MACHINE = bytesOf(`","machine":null,"machine_region":null,"upstream":null`);
/** Sent once, on a connection that was there, to a machine for which nobody had to wait. */
const AT_ONCE = bytesOf(`,"attempts":1,"reused":true,"held_ms":0,"connect_ms":null,"load":`);
const NULL = bytesOf("null");
const FIRST_BYTE = bytesOf(`,"first_byte_ms":`);
const TOTAL = bytesOf(`,"total_ms":`);
const BYTES_IN = bytesOf(`,"bytes_in":`);
const BYTES_OUT = bytesOf(`,"bytes_out":`);
const NO_USER_AGENT = bytesOf(`,"user_agent":null}\n`);

export class AccessLines {
  readonly #edgeRegion: string;
  readonly #statuses: Uint8Array[] = [];
  #wallMs = -1;
  #begin: Uint8Array = NULL;
  #userAgent = "";
  #userAgentField: Uint8Array = NULL;

  constructor(edgeRegion: string) {
    this.#edgeRegion = edgeRegion;
  }

  /**
   * @param into has room for `LINE_BYTES_MAX`
   * @param endedMs monotonic
   * @param endedWallMs whole milliseconds since 1970
   */
  write(into: LineBuffer, exchange: Exchange, endedMs: number, endedWallMs: number): void {
    if (endedWallMs !== this.#wallMs) {
      this.#wallMs = endedWallMs;
      this.#begin = bytesOf(`{"at_ms":${endedWallMs},"request_id":"`);
    }
    const { head, client, app, servedBy, startedMs } = exchange;
    into.put(this.#begin);
    into.text(exchange.id);
    into.put(head.minor === 1 ? client.logged ?? this.#client(client) : this.#client(client, "1.0"));
    into.text(head.method);
    into.put(HOST);
    into.text(head.host);
    into.put(TARGET);
    into.quoted(head.target, TARGET_LOGGED_MAX);
    into.put(exchange.code === null ? this.#status(exchange.status) : statusAndCode(exchange));
    if (app === null) into.put(NO_APP_NO_MACHINE);
    else {
      into.bytes[into.at++] = 0x22;
      into.text(app.name ?? app.id);
      into.put(servedBy === null ? NO_MACHINE : servedBy.logged ?? machineFields(servedBy));
    }
    if (exchange.sends === 1 && exchange.connectMs === -1 && exchange.heldMs === 0) into.put(AT_ONCE);
    else attempts(into, exchange);
    into.whole(exchange.load);
    into.put(FIRST_BYTE);
    if (exchange.respondedMs === 0) into.put(NULL);
    else into.duration(exchange.respondedMs - startedMs);
    into.put(TOTAL);
    into.duration(endedMs - startedMs);
    into.put(BYTES_IN);
    into.whole(exchange.bytesIn);
    into.put(BYTES_OUT);
    into.whole(exchange.bytesOut);
    if (exchange.trace !== null) into.text(`,"trace_id":"${exchange.trace.traceId}"`);
    if (exchange.replay !== null) into.text(`,"replays":${exchange.replay.count}`);
    into.put(this.#agent(head.userAgent));
    into.lines++;
  }

  /** Kept with the connection, whose next request says the same. */
  #client(client: Downstream, version: string = client.protocol): Uint8Array {
    const { address, port, listener, serverName, tlsVersion } = client;
    const name = serverName === null ? "null" : `"${escaped(serverName, SERVER_NAME_LOGGED_MAX)}"`;
    const fields = bytesOf(
      `","client":"${address}","client_port":${port ?? null},"edge_region":"${this.#edgeRegion}",` +
        `"service_port":${listener.servicePort},"protocol":"${
          version === "tcp" ? "TCP" : `HTTP/${version}`
        }",` +
        `"tls":${tlsVersion == null ? "null" : `"${tlsVersion}"`},"server_name":${name},"method":"`,
    );
    if (version === client.protocol) client.logged = fields;
    return fields;
  }

  #status(status: number): Uint8Array {
    return this.#statuses[status] ??= bytesOf(`","status":${status},"code":null,"app":`);
  }

  /** Clients that come in numbers call themselves the same. */
  #agent(userAgent: string | null): Uint8Array {
    if (userAgent === null) return NO_USER_AGENT;
    if (userAgent !== this.#userAgent || this.#userAgentField === NULL) {
      this.#userAgent = userAgent;
      this.#userAgentField = bytesOf(`,"user_agent":"${escaped(userAgent, USER_AGENT_LOGGED_MAX)}"}\n`);
    }
    return this.#userAgentField;
  }
}

function statusAndCode(exchange: Exchange): Uint8Array {
  return bytesOf(`","status":${exchange.status},"code":"${exchange.code}","app":`);
}

function machineFields(machine: Backend): Uint8Array {
  const { machineId, region, address, port } = machine;
  return machine.logged = bytesOf(
    `","machine":"${machineId}","machine_region":"${region}","upstream":"${address}:${port}"`,
  );
}

function attempts(into: LineBuffer, { sends, connectMs, heldMs }: Exchange): void {
  const reused = sends === 0 ? "null" : String(connectMs === -1);
  into.text(`,"attempts":${sends},"reused":${reused},"held_ms":`);
  into.duration(heldMs);
  into.text(`,"connect_ms":`);
  if (connectMs === -1) into.put(NULL);
  else into.duration(connectMs);
  into.text(`,"load":`);
}

function escaped(text: string, lengthMax: number): string {
  const buffer = new LineBuffer(6 * (Math.min(text.length, lengthMax) + 1));
  buffer.quoted(text, lengthMax);
  return buffer.bytes.toString("latin1", 0, buffer.at);
}
