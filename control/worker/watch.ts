/**
 * Watches one running VM over its control stream: its first word, the end of its boot, its log lines, the exit of the
 * user's process. The stream may break while the VM lives on (an agent restart, a hiccup of the port): the watcher
 * connects again, with patience, until the VM is gone. What it learns are promises that never reject; null says that the
 * VM ended without telling.
 */
import { GodwitError } from "../contract/errors.ts";
import type {
  GuestExit,
  GuestListeners,
  GuestLogLine,
  GuestStatus,
  RestartRequest,
  ResumedAnswer,
  ResumedRequest,
} from "../contract/guest-api.ts";
import { type Backoff, backoffMs, pause, within } from "./backoff.ts";
import type { Vm, VmExit } from "./vmm/driver.ts";
import { GuestClient } from "./vmm/guest-client.ts";

/** One long poll for the end of the boot. */
export const STATUS_WAIT_MS = 10_000;
/** After the VM's end its last words may still be on their way through the stream. */
export const LAST_WORDS_WAIT_MS = 500;
/** Of a conversation's first seconds, and how long a busy guest may take to answer. */
const PROVED_AFTER_MS = [1_000, 4_000];
const PROOF_WAIT_MS = 10_000;
const RECONNECT: Backoff = { firstMs: 20, capMs: 2_000 };

export interface WatcherOptions {
  readonly machineId: string;
  readonly vm: Vm;
  /** Sequence number of the first log line that nobody has yet. */
  readonly logsFrom: number;
  readonly onLine: (line: GuestLogLine) => void;
  readonly onTrouble: (error: unknown) => void;
  readonly random: () => number;
}

export class Watcher {
  readonly vm: Vm;
  /** The first answer of the guest. */
  readonly hello: Promise<GuestStatus | null>;
  /** The first answer that tells how the boot ended: phase `running`, `exited`, `stopping` or `failed`. */
  readonly booted: Promise<GuestStatus | null>;
  readonly gone: Promise<VmExit>;
  readonly #options: WatcherOptions;
  readonly #end = new AbortController();
  readonly #hello = Promise.withResolvers<GuestStatus | null>();
  readonly #booted = Promise.withResolvers<GuestStatus | null>();
  /** Of the present run. */
  #exit = Promise.withResolvers<GuestExit | null>();
  #drained = Promise.withResolvers<void>();
  #run = 0;
  #nextRun = Promise.withResolvers<void>();
  #client: GuestClient | null = null;
  #nextSeq: number;
  #whyEnded: string | null = null;

  constructor(options: WatcherOptions) {
    this.#options = options;
    this.#nextSeq = options.logsFrom;
    this.vm = options.vm;
    this.hello = this.#hello.promise;
    this.booted = this.#booted.promise;
    this.gone = this.#watchEnd();
    void this.#converse();
  }

  /** Restarts of the user's process in this guest, as far as is known. */
  get run(): number {
    return this.#run;
  }
  /** How the present run of the user's process ended. */
  get exit(): Promise<GuestExit | null> {
    return this.#exit.promise;
  }
  /** The guest has sent all lines of the present run: it ends that stream when the process has ended. */
  get drained(): Promise<void> {
    return this.#drained.promise;
  }

  /** The conversation with the guest, which may break off at any time. @throws GodwitError `guest.gone` where none stands now. */
  guest(): GuestClient {
    if (this.#client !== null) return this.#client;
    throw this.#gone();
  }

  #gone(): GodwitError {
    return new GodwitError("guest.gone", `Cannot reach the guest of machine ${this.#options.machineId}`, {
      fault: "us",
      retryable: true,
      hint: "ask again in a moment",
    });
  }

  stop(request: { signal: string; timeout_s: number }): Promise<void> {
    return Promise.resolve().then(() => this.guest().stop(request));
  }
  /** Has the user's process run again in its guest; `exit` and `drained` are those of the next run from then on. */
  async restart(request: RestartRequest): Promise<void> {
    await this.guest().restart(request);
    if (this.#end.signal.aborted) throw this.#gone();
    this.#run = request.run + 1;
    this.#exit = Promise.withResolvers();
    this.#drained = Promise.withResolvers();
    this.#nextRun.resolve();
    this.#nextRun = Promise.withResolvers();
  }
  status(): Promise<GuestStatus> {
    return Promise.resolve().then(() => this.guest().status());
  }
  listeners(): Promise<GuestListeners> {
    return Promise.resolve().then(() => this.guest().listeners());
  }
  resumed(request: ResumedRequest): Promise<ResumedAnswer> {
    return Promise.resolve().then(() => this.guest().resumed(request));
  }
  acknowledgeExit(): Promise<void> {
    return Promise.resolve().then(() => this.guest().acknowledgeExit());
  }

  /** Kills the VM. It has ended unasked then, and this is why. */
  async endVm(why: string): Promise<void> {
    this.#whyEnded = why;
    await this.vm.kill();
  }

  /** Lets go of the VM without touching it. */
  detach(): void {
    this.#end.abort();
    this.#client?.close();
    this.vm.detach();
    this.#settle();
  }

  async #watchEnd(): Promise<VmExit> {
    const exit = await this.vm.exited;
    if (this.#client !== null) await within(this.#client.closed, LAST_WORDS_WAIT_MS, this.#end.signal);
    this.#end.abort();
    this.#client?.close();
    this.#settle();
    return { ...exit, reason: exit.reason ?? this.#whyEnded };
  }

  #settle(): void {
    this.#hello.resolve(null);
    this.#booted.resolve(null);
    this.#exit.resolve(null);
    this.#drained.resolve();
  }

  async #converse(): Promise<void> {
    const { signal } = this.#end;
    for (let tries = 1; !signal.aborted; tries++) {
      try {
        const client = this.#client = new GuestClient(await this.vm.openControl(signal));
        if (signal.aborted) return client.close();
        await this.#listen(client, () => tries = 1);
        await client.closed;
        return;
      } catch (error) {
        if (signal.aborted) return;
        this.#options.onTrouble(error);
      } finally {
        this.#client?.close();
        this.#client = null;
      }
      await pause(backoffMs(RECONNECT, tries, this.#options.random), signal);
    }
  }

  async #listen(client: GuestClient, onAnswer: () => void): Promise<void> {
    const { signal } = this.#end;
    // Without a limit: the request waits in the stream until the guest has booted far enough to read it. Whoever starts
    // a VM has its own limit; opening the stream anew would only leave another half conversation before the guest.
    let status = await client.status({ signal, timeoutMs: null });
    onAnswer();
    this.#hello.resolve(status);
    // An agent that has just come back does not know how often the process was run again.
    this.#run = Math.max(this.#run, status.run ?? 0);
    void this.#prove(client);
    while (!client.isOver) {
      const nextRun = this.#nextRun.promise;
      const lines = this.#pump(client);
      while (status.phase === "booting") status = await client.status({ waitMs: STATUS_WAIT_MS, signal });
      this.#booted.resolve(status);
      if (status.phase !== "failed") this.#exit.resolve(await client.exit({ signal, run: this.#run }));
      if (!await lines) throw this.#gone();
      await Promise.race([nextRun, client.closed]);
    }
  }

  /**
   * A port may have lost a conversation that it began, and long polls would never tell: asked again a little later, and
   * begun anew where no answer comes.
   */
  async #prove(client: GuestClient): Promise<void> {
    const { signal } = this.#end;
    for (const afterMs of PROVED_AFTER_MS) {
      await pause(afterMs, signal);
      if (signal.aborted || client.isOver) return;
      try {
        await client.status({ signal, timeoutMs: PROOF_WAIT_MS });
      } catch (error) {
        if (signal.aborted || client.isOver) return;
        this.#options.onTrouble(error);
        return client.close();
      }
    }
  }

  /** Whether the guest has ended its lines; they also end with the connection, and then the rest is still to come. */
  async #pump(client: GuestClient): Promise<boolean> {
    try {
      for await (const line of client.logs({ from: this.#nextSeq, signal: this.#end.signal })) {
        this.#nextSeq = line.seq + 1;
        this.#options.onLine(line);
      }
      if (client.isOver) return false;
      this.#drained.resolve();
      return true;
    } catch (error) {
      if (this.#end.signal.aborted) return false;
      this.#options.onTrouble(error);
      // Ends the other calls too, so that the whole conversation begins anew from the first missing line.
      client.close();
      return false;
    }
  }
}
