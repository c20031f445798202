/**
 * The worker's side of contract/guest-api.ts: HTTP/2 with prior knowledge over one byte stream. The peer is a guest and
 * not trusted: every body is bounded and parsed, every call has a limit of time, and whatever it says, the worst outcome
 * is a GodwitError: `guest.protocol_error` (it spoke nonsense), `guest.timeout` (it did not answer), `guest.gone` (the
 * stream ended).
 */
import type { Duplex } from "node:stream";
import type { GuestExit, GuestListeners, GuestLogLine, GuestStatus } from "../../contract/guest-api.ts";

export interface CallOptions {
  /** Cancels the call; it then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** @default CALL_TIMEOUT_MS, plus `waitMs` where the call waits in the guest; null for no limit. */
  readonly timeoutMs?: number | null;
}

export class GuestClient {
  /** Resolves when the stream has ended or the peer broke the protocol; never rejects. */
  readonly closed: Promise<void>;

  constructor(_stream: Duplex) {
    this.closed = Promise.resolve();
  }

  /** With `waitMs` the guest answers once its phase is `running`, `failed` or `exited`, or that time is over. */
  status(_options: CallOptions & { readonly waitMs?: number } = {}): Promise<GuestStatus> {
    throw new Error("not written yet");
  }

  /** How the user's process ended; pending until it has. @default no limit of time */
  exit(_options: CallOptions = {}): Promise<GuestExit> {
    throw new Error("not written yet");
  }

  /** Resolves when the guest has accepted to stop, not when it has. */
  stop(_request: { signal: string; timeout_s: number }, _options: CallOptions = {}): Promise<void> {
    throw new Error("not written yet");
  }

  signal(_name: string, _options: CallOptions = {}): Promise<void> {
    throw new Error("not written yet");
  }

  /** Lines from sequence number `from`, then live ones until the stream ends or `signal` aborts. */
  logs(
    _options: { readonly from?: number; readonly signal?: AbortSignal } = {},
  ): AsyncIterable<GuestLogLine> {
    throw new Error("not written yet");
  }

  listeners(_options: CallOptions = {}): Promise<GuestListeners> {
    throw new Error("not written yet");
  }

  /** Tells the guest that its exit is kept durably, so that it powers off at once. */
  acknowledgeExit(_options: CallOptions = {}): Promise<void> {
    throw new Error("not written yet");
  }

  /** Ends the session and the stream under it. */
  close(): void {}
}
