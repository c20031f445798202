/** Asks a replica on this machine (edge/query/README.md). */
import { z } from "zod";
import { GodwitError, messageOf, WireError } from "../contract/errors.ts";

const ANSWER_WAIT_MS = 20_000;
/** A subscription says something every 10 s; silence for longer means that nobody is there. */
const SILENCE_MS_MAX = 30_000;

export class ReplicaClient {
  readonly #socket: string;

  constructor(socket: string) {
    this.#socket = socket;
  }

  /** What the replica says of itself. */
  async page(): Promise<unknown> {
    const answer = await this.#ask("/replica", {}, AbortSignal.timeout(ANSWER_WAIT_MS));
    return await answer.json().catch((error) => {
      throw this.#unreachable(messageOf(error), error);
    });
  }

  /** Lines of the answer, each checked; an error among them is thrown. */
  async *lines<T>(path: "/query" | "/subscribe", body: unknown, line: z.ZodType<T>): AsyncGenerator<T> {
    const silence = new AbortController();
    const fell = () => silence.abort(new Error("it fell silent"));
    let timer = setTimeout(fell, SILENCE_MS_MAX);
    try {
      const answer = await this.#ask(path, { method: "POST", body: JSON.stringify(body) }, silence.signal);
      const decoder = new TextDecoder();
      let rest = "";
      for await (const chunk of answer.body ?? []) {
        clearTimeout(timer);
        timer = setTimeout(fell, SILENCE_MS_MAX);
        const texts = (rest + decoder.decode(chunk, { stream: true })).split("\n");
        rest = texts.pop() ?? "";
        for (const text of texts) yield this.#read(text, line);
      }
    } catch (error) {
      if (error instanceof GodwitError) throw error;
      throw this.#unreachable(messageOf(error), error);
    } finally {
      clearTimeout(timer);
    }
  }

  #read<T>(text: string, line: z.ZodType<T>): T {
    const parsed = line.safeParse(JSON.parse(text));
    if (!parsed.success) throw this.#unreachable("it answered something else than a replica does");
    const { error } = parsed.data as { error?: WireError };
    if (error !== undefined) throw GodwitError.fromWire(error);
    return parsed.data;
  }

  async #ask(path: string, init: RequestInit, signal: AbortSignal): Promise<Response> {
    let answer: Response;
    try {
      const options: BunFetchRequestInit = { ...init, signal, unix: this.#socket };
      answer = await fetch(`http://replica${path}`, options);
    } catch (error) {
      throw this.#unreachable(messageOf(error), error);
    }
    if (answer.ok) return answer;
    const said = z.object({ error: WireError }).safeParse(await answer.json().catch(() => null));
    if (said.success) throw GodwitError.fromWire(said.data.error);
    throw this.#unreachable(`it answered ${answer.status}`);
  }

  #unreachable(why: string, cause?: unknown): GodwitError {
    return new GodwitError("cli.unreachable", `No replica answers at ${this.#socket}: ${why}`, {
      fault: "us",
      retryable: true,
      hint:
        "does an edge with `rows.query` run here, or `edge/main.ts replica --query`? `bun run godwit status`",
      cause,
    });
  }
}
