/** What somebody asks for, out of a request's body. */
import type { IncomingMessage } from "node:http";
import type { z } from "zod";
import { GodwitError } from "../../control/contract/errors.ts";
import type { QueryLimits } from "./query-limits.ts";

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
