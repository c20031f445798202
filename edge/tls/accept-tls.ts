/**
 * A connection on a TLS listener until its handshake is done: read the ClientHello, check the limits, choose version,
 * protocol and certificate, let TLS begin, and hand the stream to who speaks the protocol. Refusals before TLS has begun
 * cost an alert of seven bytes and no signature.
 */
import type { SecureContext } from "node:tls";
import type { Timed } from "../relay/deadlines.ts";
import type { Client, RelayContext } from "../relay/relay-context.ts";
import type { Socket, SocketEvents, TlsFacts } from "../runtime/socket-port.ts";
import { alertRecord } from "./alert.ts";
import { chooseHandshake, HTTP2, isAcmeValidation } from "./choose-handshake.ts";
import {
  type ClientHello,
  HELLO_BYTES_MAX,
  HELLO_INCOMPLETE,
  HELLO_MALFORMED,
  HELLO_NONE,
  readClientHello,
} from "./client-hello.ts";
import { ACME_TLS } from "./acme-answers.ts";
import { addressRange } from "./handshake-limits.ts";
import type { TlsFront } from "./tls-front.ts";
import { Validated } from "./validated.ts";
import {
  BAD_HELLO,
  HANDSHAKE_FAILED,
  HANDSHAKE_FAULT,
  HANDSHAKE_TIMEOUT,
  NAME_LIMITED,
  NO_CERTIFICATE,
  NO_PROTOCOL,
  NOT_TLS,
  PLAIN_HTTP,
  RANGE_LIMITED,
  type TlsRefusal,
  TOO_MANY_HANDSHAKES,
} from "./tls-refusals.ts";

/** Who takes the stream once it is open, by what ALPN agreed on. */
export interface TlsServices {
  readonly servicePort: number;
  http1(serverName: string | null): Secured;
  /** Null where the listener has no HTTP/2. */
  readonly http2: ((serverName: string | null) => Secured) | null;
  /** Who takes it where the name's service carries bytes and no requests; null where it carries requests. */
  tunnel(serverName: string | null): (() => Secured) | null;
}

export interface Secured extends SocketEvents {
  tlsVersion: string | null;
}

const PLAIN_HTTP_ANSWER = Buffer.from(
  "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n" +
    "Fly-Error-Code: PT05\r\nContent-Length: 59\r\nConnection: close\r\n\r\n" +
    "This port speaks TLS: ask for the same with https (PT05).\r\n",
);

export class AcceptTls implements SocketEvents, Timed, Client {
  deadlineMs = Infinity;
  readonly busy = false;
  readonly #context: RelayContext;
  readonly #front: TlsFront;
  readonly #services: TlsServices;
  #socket: Socket | null = null;
  #sinceMs = 0;
  #limited = true;
  #received: Buffer | null = null;
  /** The hello has been read; what comes now waits for its answer. */
  #chosen = false;
  #serverName: string | null = null;
  #tunnel: (() => Secured) | null = null;
  #over = false;

  constructor(context: RelayContext, front: TlsFront, services: TlsServices) {
    this.#context = context;
    this.#front = front;
    this.#services = services;
  }

  onOpen(socket: Socket): void {
    const { limits, ranges } = this.#front;
    this.#socket = socket;
    this.#sinceMs = this.#context.nowMs();
    this.deadlineMs = this.#sinceMs + limits.waitMsMax;
    this.#front.pending++;
    this.#context.clients.add(this);
    this.#context.deadlines.add(this);
    if (this.#front.pending > limits.pendingMax) return this.#refuse(TOO_MANY_HANDSHAKES);
    const range = addressRange(socket.remoteAddress);
    this.#limited = range !== null || limits.limitLoopback;
    if (this.#limited && !ranges.take(range ?? "loopback", this.#sinceMs)) this.#refuse(RANGE_LIMITED);
  }

  onData(bytes: Buffer): void {
    if (this.#over) return;
    const received = this.#received === null ? bytes : Buffer.concat([this.#received, bytes]);
    this.#received = received;
    if (this.#chosen) return; // paused, and yet something came
    const hello = readClientHello(received);
    if (hello === HELLO_INCOMPLETE) {
      if (received.length > HELLO_BYTES_MAX) this.#refuse(BAD_HELLO);
    } else if (hello === HELLO_NONE) this.#notTls(received);
    else if (hello === HELLO_MALFORMED) this.#refuse(BAD_HELLO);
    else this.#choose(hello);
  }

  #choose(hello: ClientHello): void {
    const { certificates, names } = this.#front;
    const { serverName } = hello;
    this.#chosen = true;
    this.#serverName = serverName;
    if (serverName !== null && this.#limited && !names.take(serverName, this.#context.nowMs())) {
      return this.#refuse(NAME_LIMITED);
    }
    if (isAcmeValidation(hello)) return this.#validate(serverName);
    const options = serverName === null
      ? null
      : this.#front.optionsOf(serverName, this.#services.servicePort);
    const tunnel = this.#tunnel = this.#services.tunnel(serverName);
    const choice = chooseHandshake(hello, options, this.#services.http2 !== null, tunnel !== null);
    if ("alert" in choice) return this.#refuse(choice);
    const context = serverName === null ? null : certificates.find(serverName, choice.versions);
    if (context === null) {
      if (options?.default_self_signed === false) return this.#refuse(NO_CERTIFICATE);
      return this.#start(certificates.default(choice.versions), choice.protocol);
    }
    if (!(context instanceof Promise)) return this.#start(context, choice.protocol);
    this.#socket!.pause();
    context.then((ready) => {
      if (this.#over) return;
      this.#socket!.resume();
      this.#start(ready, choice.protocol);
    }).catch((error) => this.onFault(error));
  }

  /** An ACME server looks whether the name is ours: it sees the certificate that says so, and no application. */
  #validate(serverName: string | null): void {
    const context = serverName === null ? null : this.#front.acme.alpn(serverName, this.#front.wallMs());
    if (context === null) return this.#refuse(NO_PROTOCOL);
    this.#start(context, ACME_TLS);
  }

  #start(context: SecureContext, protocol: string | null): void {
    const received = this.#received!;
    this.#received = null;
    this.#socket!.startTls({ context, protocol, received }, {
      onSecure: (_socket, facts) => this.#secure(facts, protocol),
      onFailed: (reason) => this.#end(HANDSHAKE_FAILED, reason),
    });
  }

  #secure(facts: TlsFacts, protocol: string | null): SocketEvents {
    const { counts } = this.#front;
    this.#over = true;
    this.#leave();
    counts.done(facts.version, facts.resumed, (this.#context.nowMs() - this.#sinceMs) / 1_000);
    if (protocol === ACME_TLS) return new Validated(this.#context);
    const secured = this.#takeOver(protocol);
    secured.tlsVersion = facts.version;
    return secured;
  }

  #takeOver(protocol: string | null): Secured {
    if (this.#tunnel !== null) return this.#tunnel();
    return protocol === HTTP2
      ? this.#services.http2!(this.#serverName)
      : this.#services.http1(this.#serverName);
  }

  // ── ends ───────────────────────────────────────────────────────────────────────────────────────────────────────

  #notTls(received: Buffer): void {
    const first = received[0]!;
    // A method's name: the client speaks HTTP and can read why this does not work.
    if (first < 0x41 || first > 0x5a) return this.#refuse(NOT_TLS);
    this.#socket?.write(PLAIN_HTTP_ANSWER);
    this.#refuse(PLAIN_HTTP);
  }

  #refuse(refusal: TlsRefusal): void {
    const socket = this.#socket;
    if (refusal.alert !== null) socket?.write(alertRecord(refusal.alert));
    this.#end(refusal, "");
    socket?.close();
  }

  #end(refusal: TlsRefusal, detail: string): void {
    if (this.#over) return;
    this.#over = true;
    this.#front.refused(refusal, this.#serverName, this.#socket?.remoteAddress ?? "", detail);
    this.#leave();
  }

  #leave(): void {
    this.#received = null;
    this.#front.pending--;
    this.#context.clients.delete(this);
    this.#context.deadlines.remove(this);
  }

  onDrain(): void {}
  onEnd(): void {
    this.#end(HANDSHAKE_FAILED, "the client left before its hello was whole");
    this.#socket?.close();
  }
  onClose(): void {
    this.#end(HANDSHAKE_FAILED, "closed");
    this.#socket = null;
  }
  onFault(error: unknown): void {
    this.#context.handler.fault(error);
    if (this.#over) this.close();
    else this.#refuse(HANDSHAKE_FAULT);
  }
  onConnectError(): void {} // only sockets made by connect() have it
  onDeadline(): void {
    this.#refuse(HANDSHAKE_TIMEOUT);
  }
  closeIfIdle(): void {
    this.close();
  }
  close(): void {
    this.#end(HANDSHAKE_FAILED, "the edge stops");
    this.#socket?.close();
  }
}
