/** Input against the contract's schemas. A refusal names the value met and what is allowed; env values never show. */
import { type z } from "zod";
import { GodwitError } from "../contract/errors.ts";

export const VALUE_CHARS_SHOWN_MAX = 80;

export interface ValidateOptions {
  /** `app.name_invalid` */
  readonly code: string;
  /** `app name`, for the message. */
  readonly what: string;
  readonly hint: string;
  /** Shows the place of what is wrong but not the value met. */
  readonly secret?: boolean;
}

export function validate<T>(schema: z.ZodType<T>, value: unknown, options: ValidateOptions): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  const path = issue.path.map(String);
  const at = path.length === 0 ? "" : ` at ${path.join(".").slice(0, VALUE_CHARS_SHOWN_MAX)}`;
  const met = options.secret === true ? "" : ` ${shown(valueAt(value, issue.path))}`;
  throw new GodwitError(
    options.code,
    `Cannot use the ${options.what}${met}${at}: ${reason(issue)}`,
    { fault: "client", hint: options.hint },
  );
}

/** zod says of a bad record key that it is bad; the nested issue says why. */
function reason(issue: z.core.$ZodIssue): string {
  if (issue.code === "invalid_key") return issue.issues[0]?.message ?? issue.message;
  if (issue.code === "invalid_union") return issue.errors[0]?.[0]?.message ?? issue.message;
  return issue.message;
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  let at = value;
  for (const step of path) at = (at as Record<PropertyKey, unknown> | null | undefined)?.[step];
  return at;
}

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? "undefined";
  return text.length <= VALUE_CHARS_SHOWN_MAX ? text : `${text.slice(0, VALUE_CHARS_SHOWN_MAX)}…`;
}
