/** What somebody asks for, out of a request's body. */
import type { IncomingMessage } from "node:http";
import { z } from "zod";
import { GodwitError } from "../../control/contract/errors.ts";
import type { QueryLimits } from "./query-limits.ts";

const PARAMETERS_MAX = 100;
const KEY_COLUMNS_MAX = 16;
const CURSOR_LENGTH_MAX = 64;

const Params = z.array(
  z.union([z.string(), z.number(), z.boolean().transform(Number), z.null()]),
).max(PARAMETERS_MAX).default([]);

export const Query = z.strictObject({ sql: z.string().min(1), params: Params });
export const Subscribe = z.strictObject({
  sql: z.string().min(1),
  params: Params,
  /** Columns that tell rows apart. */
  key: z.array(z.string()).min(1).max(KEY_COLUMNS_MAX).nullable().default(null),
  /** The last cursor that the client has seen; without it, a snapshot comes first. */
  from: z.string().max(CURSOR_LENGTH_MAX).optional(),
});

/** @throws GodwitError `query.body_invalid` */
export async function readQuestion<T>(
  request: IncomingMessage,
  schema: z.ZodType<T>,
  { bodyBytesMax }: QueryLimits,
): Promise<T> {
  let body = "";
  let bytes = 0;
  request.setEncoding("utf8");
  for await (const chunk of request) {
    bytes += Buffer.byteLength(chunk as string);
    if (bytes > bodyBytesMax) throw invalid(`the body has more than ${bodyBytesMax} bytes`);
    body += chunk;
  }
  let json: unknown;
  try {
    json = JSON.parse(body);
  } catch {
    throw invalid("the body is not JSON");
  }
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw invalid(`${issue?.path.join(".") || "the body"}: ${issue?.message}`);
}

function invalid(what: string): GodwitError {
  return new GodwitError("query.body_invalid", `Cannot read what is asked for: ${what}`, {
    fault: "client",
    hint: 'a JSON object such as {"sql": "SELECT key FROM apps WHERE name = ?", "params": ["shop"]}',
  });
}
