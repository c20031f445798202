/** Takes a response whose body is an instruction to replay, instead of the client: reads it to its end, bounded. */
import type { Downstream, ResponseSink } from "../relay/downstream.ts";
import { BodyReader } from "../relay/body-reader.ts";
import { LIMITS } from "../relay/limits.ts";
import type { ResponseHead } from "../relay/response-head.ts";
import type { Exchange } from "../request/exchange.ts";
import { type Instruction, INSTRUCTION_BYTES_MAX, parseReplayJson } from "./instruction.ts";

export class InstructionSink implements ResponseSink {
  readonly #client: Downstream;
  readonly #reader: BodyReader;
  readonly #done: (instruction: Instruction | string) => void;
  readonly #cut: () => void;
  #text = "";

  /** @param cut the response ended before its end */
  constructor(exchange: Exchange, done: (instruction: Instruction | string) => void, cut: () => void) {
    this.#client = exchange.client;
    this.#reader = new BodyReader(LIMITS);
    this.#done = done;
    this.#cut = cut;
    exchange.sink = this;
  }

  startResponse(_exchange: Exchange, _head: ResponseHead, length: number): void {
    this.#reader.begin(length);
    this.#reader.onPayload = (bytes, from, to) => this.#text += bytes.toString("latin1", from, to);
  }

  body(exchange: Exchange, bytes: Buffer, from: number, to: number): boolean {
    if (to > from) this.#reader.feed(to === bytes.length ? bytes : bytes.subarray(0, to), from);
    if (this.#text.length <= INSTRUCTION_BYTES_MAX) return true;
    const { upstream } = exchange;
    exchange.upstream = null;
    upstream?.abandon();
    this.#begunNot(exchange);
    this.#done("it is too long");
    return true;
  }

  endResponse(exchange: Exchange): void {
    this.#begunNot(exchange);
    this.#done(parseReplayJson(Buffer.from(this.#text, "latin1").toString("utf8")));
  }

  cut(exchange: Exchange): void {
    this.#begunNot(exchange);
    this.#cut();
  }

  /** Nothing of it has gone to the client, which still waits for its response. */
  #begunNot(exchange: Exchange): void {
    exchange.sink = this.#client;
    exchange.responseStarted = false;
    exchange.respondedMs = 0;
    exchange.status = 0;
    exchange.code = null;
  }
}
