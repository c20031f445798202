/**
 * Any bytes through a whole edge, from a client or from a machine. What must hold of each: nothing of ours throws; what the
 * edge writes is valid and says the same to every reading; a connection ends once its peer has ended it; and another
 * client's connection is none the wiser.
 */
import { expect } from "bun:test";
import fc from "fast-check";
import { RawClient, until } from "../edge.fixture.ts";
import { bytesOf, change, changed, places, requestPart, responsePart } from "../relay/messages.fixture.ts";
import { readResponses, splitAt } from "../relay/read-messages.fixture.ts";
import { HOST, type Hostile, startHostile } from "./hostile.fixture.ts";
import { READINGS, RFC, seeRequests, seeResponses } from "./lenient-reader.ts";
import { answerWithWhatWasSeen } from "./recording-origin.fixture.ts";

export type Side = "request" | "response";

export interface Input {
  readonly side: Side;
  readonly pieces: readonly Buffer[];
}

const random = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));
function inputs(side: Side): fc.Arbitrary<Input> {
  const part = side === "request" ? requestPart : responsePart;
  const messages = fc.tuple(
    fc.array(part, { minLength: 1, maxLength: 3 }),
    fc.oneof(fc.constant([]), fc.array(change, { minLength: 1, maxLength: 5 })),
  ).map(([parts, changes]) => changed(bytesOf(parts), changes));
  return fc.tuple(
    fc.oneof({ weight: 9, arbitrary: messages }, { weight: 1, arbitrary: random }),
    fc.oneof(fc.constant([]), places),
  ).map(([bytes, cuts]) => ({ side, pieces: splitAt(bytes, cuts) }));
}

/** Checks that many inputs; a failure names the seed, and the bytes as a file of the corpus holds them. */
export async function fuzz(fuzzer: Fuzzer, side: Side, runs: number, seed: number): Promise<void> {
  await fc.assert(fc.asyncProperty(inputs(side), (input) => fuzzer.run(input)), {
    seed,
    numRuns: runs,
    interruptAfterTimeLimit: 3_600_000,
    reporter(details) {
      if (!details.failed) return;
      const [input] = details.counterexample ?? [];
      const bytes = input === undefined ? "" : escaped(input);
      throw new Error(
        `seed ${details.seed}, path ${details.counterexamplePath}: ${
          details.errorInstance instanceof Error ? details.errorInstance.message : details.errorInstance
        }\n${bytes}`,
        {
          cause: details.errorInstance,
        },
      );
    },
  });
}

/** As a file of the corpus: the side, then each piece on a line of its own. */
export function escaped({ side, pieces }: Input): string {
  return [side, ...pieces.map((piece) => JSON.stringify(piece.toString("latin1")))].join("\n") + "\n";
}
export function parseInput(text: string): Input {
  const [side, ...lines] = text.trim().split("\n").filter((line) => !line.startsWith("//"));
  if (side !== "request" && side !== "response") throw new Error(`not a side: ${side}`);
  return { side, pieces: lines.map((line) => Buffer.from(JSON.parse(line) as string, "latin1")) };
}

export class Fuzzer {
  readonly hostile: Hostile;
  readonly #canary: RawClient;
  #runs = 0;

  private constructor(hostile: Hostile, canary: RawClient) {
    this.hostile = hostile;
    this.#canary = canary;
  }

  static async start(): Promise<Fuzzer> {
    const hostile = await startHostile();
    // The generated requests' host.
    await hostile.edge.app("a", hostile.origin.port);
    return new Fuzzer(hostile, await RawClient.open(hostile.edge.port));
  }

  async run(input: Input): Promise<void> {
    if (input.side === "request") await this.#runRequests(input.pieces);
    else await this.#runResponse(input.pieces);
    if (++this.#runs % 16 === 0) await this.#checkCanary();
    this.hostile.origin.forgetClosed();
    expect(this.hostile.edge.edge.metrics.faults).toBe(0);
  }

  async #runRequests(pieces: readonly Buffer[]): Promise<void> {
    const { edge, origin, log } = this.hostile;
    origin.answer = answerWithWhatWasSeen;
    origin.take();
    log.length = 0;
    const client = await RawClient.open(edge.port);
    await sendPieces(client, pieces);
    client.socket.end();
    await until(() => client.closed || client.ended);
    client.close();
    await this.#quiet();
    this.#checkClient(client.bytes);
    // The machine sees what the edge logged, whatever it believes.
    const logged = log.filter(({ machine }) => machine !== null).map(({ method, target }) =>
      `${method} ${target}`
    );
    for (const { text } of origin.take()) {
      const seen = seeRequests(text, RFC).messages;
      for (const { start } of seen) expect(logged).toContain(start);
      for (const reading of READINGS) expect(seeRequests(text, reading).messages, reading.name).toEqual(seen);
    }
  }

  async #runResponse(pieces: readonly Buffer[]): Promise<void> {
    const { edge, origin, log } = this.hostile;
    origin.take();
    log.length = 0;
    origin.answer = (seen, socket) => {
      if (!seen.start.endsWith(" /fuzzed")) return answerWithWhatWasSeen(seen);
      void (async () => {
        for (const piece of pieces) {
          socket.write(piece);
          await new Promise((resolve) => setImmediate(resolve));
        }
        socket.end();
      })();
      return null;
    };
    const client = await RawClient.open(edge.port);
    client.send(`GET /fuzzed HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
    await until(() => log.length > 0);
    client.socket.end();
    await until(() => client.closed || client.ended);
    client.close();
    await this.#quiet();
    this.#checkClient(client.bytes);
    const methods = ["GET"];
    const seen = seeResponses(client.text, methods, RFC).messages;
    for (const reading of READINGS) {
      expect(seeResponses(client.text, methods, reading).messages, reading.name).toEqual(seen);
    }
  }

  /** One valid response for each request that got one, and no byte more. */
  #checkClient(bytes: Buffer): void {
    const { log } = this.hostile;
    const answered = log.filter(({ status, code }) => status !== 499 || code !== "edge.client_gone");
    let at = 0, finals = 0;
    while (at < bytes.length) {
      const exchange = answered[finals];
      expect(exchange, `more than the log says: ${bytes.toString("latin1", at)}`).toBeDefined();
      const { messages, refusal } = readResponses([bytes.subarray(at)], { method: exchange!.method });
      const first = messages[0];
      expect(first, refusal ?? `no head: ${bytes.toString("latin1", at)}`).toBeDefined();
      if (first!.start >= "200") {
        expect(Number(first!.start)).toBe(exchange!.status);
        finals++;
      }
      // Cut short, or until the end.
      if (first!.end === null) break;
      at += first!.end;
    }
    expect(finals).toBe(answered.length);
  }

  /** Nothing is left of the exchanges but the canary's connection. */
  async #quiet(): Promise<void> {
    const { relay } = this.hostile.edge.edge;
    await until(() => relay.clients.size === 1);
  }

  async #checkCanary(): Promise<void> {
    this.hostile.origin.answer = answerWithWhatWasSeen;
    const target = `/canary-${this.#runs}`;
    this.#canary.bytes = Buffer.alloc(0);
    this.#canary.send(`GET ${target} HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
    expect(await this.#canary.has(`saw GET ${target} with 0`)).toStartWith("HTTP/1.1 200 OK\r\n");
  }

  async stop(): Promise<void> {
    this.#canary.close();
    await this.hostile.stop();
  }
}

async function sendPieces(client: RawClient, pieces: readonly Buffer[]): Promise<void> {
  client.socket.setNoDelay(true);
  for (const [i, piece] of pieces.entries()) {
    if (i > 0) await new Promise((resolve) => setImmediate(resolve));
    client.socket.write(piece);
  }
}
