/** What every route reads: the machine's id, a JSON body, parameters. What does not fit is `request.invalid`. */
import type { Context } from "hono";
import type { z } from "zod";
import { GodwitError } from "../../contract/errors.ts";
import { MachineId } from "../../contract/names.ts";

export function idOf(c: Context): string {
  return parse(MachineId, c.req.param("id"), "machine id");
}

/** An absent body is an empty object: each field may have its default. */
export async function bodyOf<T>(c: Context, schema: z.ZodType<T>): Promise<T> {
  const text = await c.req.text();
  return parse(schema, text === "" ? {} : jsonOf(text), "body");
}

export function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw invalid(`the body is not JSON: ${error instanceof Error ? error.message : error}`);
  }
}

export function parse<T>(schema: z.ZodType<T>, value: unknown, what: string): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  // Paths and rules, never values: an env may be among them.
  const issues = parsed.error.issues.slice(0, 5).map((issue) => `${issue.path.join(".")}: ${issue.message}`);
  throw invalid(`the ${what} is not valid: ${issues.join("; ")}`);
}

export function invalid(why: string): GodwitError {
  return new GodwitError("request.invalid", `Cannot read the request: ${why}`, {
    fault: "client",
    hint: "see control/contract for what is allowed",
  });
}
