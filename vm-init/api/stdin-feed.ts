/**
 * What a caller types or pipes in, on its way to a command that may not read it. It waits here, at most a window of it, so
 * that the frames behind it are heard meanwhile: credit for the command's output above all, without which a command that
 * writes before it reads would never come to read.
 */
import { encodeCredit, EXEC_WINDOW_BYTES, FrameKind } from "../../control/contract/exec-frames.ts";
import { collectNowAndThen } from "../system/collect.ts";
import type { Descriptor } from "../system/descriptor.ts";
import { BootError } from "../system/error.ts";
import { writeAll } from "../system/write-all.ts";
import { send, type Stream } from "./answer.ts";

/** What a terminal in its usual mode takes for the end of its input (termios(3), VEOF). */
const END_OF_INPUT = Uint8Array.of(4);

export interface Feeding {
  readonly stream: Stream;
  /** null: the command has no stdin, and what comes is dropped. */
  readonly to: Descriptor | null;
  readonly isTerminal: boolean;
  readonly isOver: () => boolean;
}

export class StdinFeed {
  readonly #feeding: Feeding;
  readonly #waiting: (Uint8Array | "end")[] = [];
  #bytes = 0;
  #open: boolean;
  #isRunning = false;

  constructor(feeding: Feeding) {
    this.#feeding = feeding;
    this.#open = feeding.to !== null;
  }

  /** @throws BootError above the window */
  push(payload: Uint8Array): void {
    this.#bytes += payload.length;
    if (this.#bytes > EXEC_WINDOW_BYTES) {
      throw new BootError("Cannot keep more stdin than there is credit for");
    }
    // A copy: the chunk that it came in is larger.
    this.#waiting.push(Uint8Array.from(payload));
    void this.#run();
  }

  end(): void {
    this.#waiting.push("end");
    void this.#run();
  }

  async #run(): Promise<void> {
    if (this.#isRunning) return;
    this.#isRunning = true;
    const { stream, isOver } = this.#feeding;
    for (let next = this.#waiting.shift(); next !== undefined && !isOver(); next = this.#waiting.shift()) {
      if (next === "end") await this.#close();
      else {
        const { to } = this.#feeding;
        this.#open &&= await writeAll(to!.fd, next, isOver);
        this.#bytes -= next.length;
        collectNowAndThen(next.length);
        // What nobody reads any more is taken as well: the caller need not wait.
        await send(stream, encodeCredit(FrameKind.stdinCredit, next.length));
      }
    }
    this.#isRunning = false;
  }

  async #close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    const { to, isTerminal, isOver } = this.#feeding;
    if (isTerminal) await writeAll(to!.fd, END_OF_INPUT, isOver);
    else to!.close();
  }
}
