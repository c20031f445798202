/** The public API as the CLI uses it: GraphQL over HTTP, and the NDJSON and REST paths beside it. */
import { GodwitError, messageOf, WireError } from "../contract/errors.ts";

export interface ApiOptions {
  readonly url: string;
  readonly token: string;
}

interface GraphqlAnswer<T> {
  readonly data?: T | null;
  readonly errors?: { readonly message: string; readonly extensions?: Record<string, unknown> }[];
}

/** A query is answered at once; a mutation may wait for a worker. */
const ANSWER_WAIT_MS = 60_000;

export class ApiClient {
  readonly #options: ApiOptions;

  constructor(options: ApiOptions) {
    this.#options = options;
  }

  /** Throws the API's first error as the GodwitError it was there. */
  async graphql<T>(query: string, variables: Record<string, unknown> = {}): Promise<T> {
    const answer = await this.fetch("/graphql", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ query, variables }),
      signal: AbortSignal.timeout(ANSWER_WAIT_MS),
    });
    const body = await answer.json().catch(() => null) as (GraphqlAnswer<T> & { error?: unknown }) | null;
    const first = body?.errors?.[0];
    if (first !== undefined) throw errorOf({ ...first.extensions, message: first.message });
    if (body?.error !== undefined) throw errorOf(body.error);
    if (!answer.ok || body?.data === undefined || body.data === null) throw this.#odd(answer.status);
    return body.data;
  }

  /** Any other path; failures of the answer are thrown as typed errors. */
  async rest(path: string, init: RequestInit = {}): Promise<Response> {
    const answer = await this.fetch(path, init);
    if (answer.ok) return answer;
    const body = await answer.json().catch(() => null) as { error?: unknown } | null;
    throw body?.error === undefined ? this.#odd(answer.status) : errorOf(body.error);
  }

  /** A request whose body goes on while its answer comes. */
  stream(method: "POST" | "PUT", path: string, body: ReadableStream<Uint8Array>, signal?: AbortSignal) {
    // Bun ends a request in which nothing was received for five minutes, however much is sent.
    const init: RequestInit & { duplex: "half"; timeout: false } = {
      method,
      body,
      duplex: "half",
      timeout: false,
      ...(signal ? { signal } : {}),
    };
    return this.rest(path, init);
  }

  async fetch(path: string, init: RequestInit): Promise<Response> {
    const headers = new Headers(init.headers);
    headers.set("authorization", `Bearer ${this.#options.token}`);
    try {
      return await fetch(new URL(path, this.#options.url), { ...init, headers });
    } catch (error) {
      throw new GodwitError(
        "cli.unreachable",
        `Cannot reach the API at ${this.#options.url}: ${messageOf(error)}`,
        {
          fault: "us",
          retryable: true,
          hint: "is the stack up? `bun run godwit status`; another API: GODWIT_API_URL",
          cause: error,
        },
      );
    }
  }

  #odd(status: number): GodwitError {
    const options = { fault: "us" as const, hint: "is GODWIT_API_URL the address of a Godwit API?" };
    if (status === 401 || status === 403) {
      return new GodwitError(
        "cli.no_token",
        `The API at ${this.#options.url} refused the token (${status})`,
        {
          fault: "client",
          hint: "give a valid one with --access-token or GODWIT_TOKEN",
        },
      );
    }
    return new GodwitError(
      "cli.bad_answer",
      `The API at ${this.#options.url} answered ${status} without data`,
      options,
    );
  }
}

/** What came over the wire as the error it was; what is not of that form becomes a plain failure. */
function errorOf(wire: unknown): GodwitError {
  const parsed = WireError.safeParse({ hint: null, retryable: false, ...(wire as object) });
  if (parsed.success) return GodwitError.fromWire(parsed.data);
  const message = (wire as { message?: unknown })?.message;
  return new GodwitError(
    "cli.bad_answer",
    `The API failed: ${typeof message === "string" ? message : "unknown"}`,
    {
      fault: "us",
    },
  );
}
