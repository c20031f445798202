/** What every route of the control API does: read parameters and a small body, answer, refuse. */
import type http2 from "node:http2";
import type { WireError } from "../../control/contract/errors.ts";
import { ERROR_FIELD } from "../../control/contract/guest-limits.ts";
import { BootError, messageOf } from "../system/error.ts";

const REQUEST_BODY_BYTES_MAX = 16_384;
const MESSAGE_CHARS_MAX = 2_048;
/** What both ends take as one header field; a longer error is in the body alone. */
const ERROR_FIELD_CHARS_MAX = 8_192;

export type Stream = http2.ServerHttp2Stream;
export type Handler = (stream: Stream, query: URLSearchParams) => Promise<void> | void;
export type Routes = Record<string, Handler>;

/** An error as control/contract/errors.ts tells it over the wire; the class there comes with zod (system/error.ts). */
export class Refusal extends BootError {
  readonly code: string;
  readonly fault: WireError["fault"];
  readonly status: number;
  readonly hint: string | null;

  constructor(
    code: `guest.${string}`,
    message: string,
    more: { fault?: WireError["fault"]; status?: number; hint?: string } = {},
  ) {
    super(message);
    this.code = code;
    this.fault = more.fault ?? "client";
    this.status = more.status ?? 400;
    this.hint = more.hint ?? null;
  }
}

/** Whatever was thrown, as the worker reads it. */
export function wireOf(error: unknown): WireError {
  const message = messageOf(error).slice(0, MESSAGE_CHARS_MAX);
  const plain = { retryable: false, message, hint: null };
  if (error instanceof Refusal) return { ...plain, code: error.code, fault: error.fault, hint: error.hint };
  if (error instanceof BootError) return { ...plain, code: "guest.request_invalid", fault: "client" };
  return { ...plain, code: "guest.failed", fault: "us" };
}

export function refuse(stream: Stream, error: unknown): void {
  if (stream.destroyed || stream.headersSent) return;
  const status = error instanceof Refusal ? error.status : error instanceof BootError ? 400 : 500;
  const wire = wireOf(error);
  const field = encodeURIComponent(JSON.stringify(wire).toWellFormed());
  answer(
    stream,
    status,
    { error: wire },
    field.length > ERROR_FIELD_CHARS_MAX ? {} : { [ERROR_FIELD]: field },
  );
}

export function answer(
  stream: Stream,
  status: number,
  body?: unknown,
  fields: Readonly<Record<string, string>> = {},
): void {
  if (stream.destroyed) return;
  if (body === undefined) {
    stream.respond({ ":status": status }, { endStream: true });
    return;
  }
  stream.respond({ ":status": status, "content-type": "application/json", ...fields });
  stream.end(JSON.stringify(body));
}

/** False where the worker has gone. */
export async function send(stream: Stream, bytes: Uint8Array | string): Promise<boolean> {
  if (stream.destroyed) return false;
  if (!stream.write(bytes)) {
    const { promise, resolve } = Promise.withResolvers<void>();
    stream.once("drain", resolve);
    stream.once("close", resolve);
    if (!stream.destroyed) await promise;
    stream.off("drain", resolve);
    stream.off("close", resolve);
  }
  return !stream.destroyed;
}

export function numberOf(query: URLSearchParams, name: string, otherwise = 0): number {
  const value = Number(query.get(name) ?? otherwise);
  if (Number.isInteger(value) && value >= 0) return value;
  throw new BootError(`Cannot read ${name}=${query.get(name)}: not a number from 0`);
}

export async function bodyOf(stream: Stream): Promise<Record<string, unknown>> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stream) {
    bytes += chunk.length;
    if (bytes > REQUEST_BODY_BYTES_MAX) {
      throw new BootError(`Cannot read a body of more than ${REQUEST_BODY_BYTES_MAX} bytes`);
    }
    chunks.push(chunk);
  }
  return objectOf(Buffer.concat(chunks));
}

export function objectOf(json: Uint8Array): Record<string, unknown> {
  try {
    const body = JSON.parse(Buffer.from(json).toString()) as unknown;
    if (typeof body === "object" && body !== null) return body as Record<string, unknown>;
  } catch {
    // Said below, together with JSON that is not an object.
  }
  throw new BootError("Cannot read the body: it is not a JSON object");
}
