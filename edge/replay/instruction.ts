/**
 * What an app says in `fly-replay` (reference, section 1.5): who should answer this request in its place. Two forms, one
 * meaning: a field of `KEY=VALUE` parts between semicolons, quoted where a value holds one of `;,"` or a blank, and a JSON
 * body. An instruction that cannot be read, or that names nobody, is the app's mistake and is told as one: passing such a
 * response on to the client would hide it.
 */
import { z } from "zod";
import { AppName, MachineId, RegionCode } from "../../control/contract/names.ts";
import { BYTE_CLASS, VALUE } from "../relay/byte-class.ts";

/** Of the field's value, and of the JSON body. */
export const INSTRUCTION_BYTES_MAX = 16_384;
export const STATE_BYTES_MAX = 4_096;
export const REPLAY_REGIONS_MAX = 32;
/** No app may make its clients wait longer for another's machine. */
export const REPLAY_TIMEOUT_MS_MAX = 60_000;

const ALIASES = ["apac", "eu", "na", "sa", "us", "usa", "any"] as const;

export interface Instruction {
  /** Codes or aliases, most wanted first; null: any. */
  readonly regions: readonly string[] | null;
  readonly instance: string | null;
  readonly preferInstance: string | null;
  /** By name; null: the app that says so. */
  readonly app: string | null;
  /** Handed on as it is. */
  readonly state: string | null;
  /** Any machine but the one that says so. */
  readonly elsewhere: boolean;
  /** To reach the target; null: as long as any request may wait. */
  readonly timeoutMs: number | null;
  readonly fallback: "force_self" | "prefer_self" | null;
  /** Fields with a meaning in the reference that Godwit does not have yet. */
  readonly ignored: readonly string[];
}

const Region = z.union([z.enum(ALIASES), RegionCode]);
const Fields = z.strictObject({
  region: z.array(Region).min(1).max(REPLAY_REGIONS_MAX).optional(),
  instance: MachineId.optional(),
  prefer_instance: MachineId.optional(),
  app: AppName.optional(),
  state: z.string().max(STATE_BYTES_MAX).refine(isFieldValue, "it holds a byte that a header cannot")
    .optional(),
  elsewhere: z.boolean().optional(),
  timeout: z.number().int().min(1).max(REPLAY_TIMEOUT_MS_MAX).optional(),
  fallback: z.enum(["force_self", "prefer_self"]).optional(),
});
const KEYS = new Set(Object.keys(Fields.shape));
const LATER = new Set(["transform", "cache"]);

/** @returns what is wrong, in words, for an instruction that cannot be followed */
export function parseReplayField(value: string): Instruction | string {
  if (value.length > INSTRUCTION_BYTES_MAX) return "it is too long";
  const fields: Record<string, unknown> = {};
  let at = 0;
  while (true) {
    while (isBlank(value, at)) at++;
    if (at >= value.length) break;
    const keyStart = at;
    while (at < value.length && value[at] !== "=" && value[at] !== ";") at++;
    const key = value.slice(keyStart, at).trim().toLowerCase();
    if (value[at] !== "=") return `${JSON.stringify(key)} has no value`;
    if (!KEYS.has(key)) return `there is no field ${JSON.stringify(key.slice(0, 64))}`;
    if (key in fields) return `${key} stands there twice`;
    at++;
    while (isBlank(value, at)) at++;
    let text = "";
    if (value[at] === '"') {
      at++;
      while (at < value.length && value[at] !== '"') {
        if (value[at] === "\\") at++;
        text += value[at++] ?? "";
      }
      if (value[at] !== '"') return `the value of ${key} has no closing quote`;
      at++;
      while (isBlank(value, at)) at++;
      if (at < value.length && value[at] !== ";") return `something follows the quoted value of ${key}`;
    } else {
      const start = at;
      while (at < value.length && value[at] !== ";") at++;
      text = value.slice(start, at).trimEnd();
    }
    fields[key] = text;
    at++;
  }
  return checked({
    ...fields,
    ...(typeof fields.region === "string" ? { region: listOf(fields.region) } : {}),
    ...(typeof fields.elsewhere === "string" ? { elsewhere: asBoolean(fields.elsewhere) } : {}),
    ...(typeof fields.timeout === "string" ? { timeout: durationMs(fields.timeout) } : {}),
  }, []);
}

/** @returns what is wrong, in words, for an instruction that cannot be followed */
export function parseReplayJson(body: string): Instruction | string {
  let said: unknown;
  try {
    said = JSON.parse(body);
  } catch {
    return "its body is not JSON";
  }
  if (typeof said !== "object" || said === null || Array.isArray(said)) {
    return "its body is not a JSON object";
  }
  const fields: Record<string, unknown> = {};
  const ignored: string[] = [];
  for (const [key, value] of Object.entries(said)) {
    if (LATER.has(key)) ignored.push(key);
    else if (!KEYS.has(key)) return `there is no field ${JSON.stringify(key.slice(0, 64))}`;
    else if (key === "region" && typeof value === "string") fields.region = listOf(value);
    else if (key === "timeout" && typeof value === "string") fields.timeout = durationMs(value);
    else if (value !== null) fields[key] = value;
  }
  return checked(fields, ignored);
}

function checked(fields: Record<string, unknown>, ignored: string[]): Instruction | string {
  const parsed = Fields.safeParse(fields);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    return `${issue?.path.join(".") || "a field"}: ${issue?.message}`;
  }
  const { region, instance, prefer_instance, app, state, elsewhere, timeout, fallback } = parsed.data;
  if (!region && !instance && !prefer_instance && !app && elsewhere !== true) {
    return "it names no region, instance, app, and does not say elsewhere=true";
  }
  return {
    regions: region ?? null,
    instance: instance ?? null,
    preferInstance: prefer_instance ?? null,
    app: app ?? null,
    state: state ?? null,
    elsewhere: elsewhere ?? false,
    timeoutMs: timeout ?? null,
    fallback: fallback ?? null,
    ignored,
  };
}

function listOf(text: string): string[] {
  const members = text.split(",").map((member) => member.trim().toLowerCase()).filter((member) =>
    member !== ""
  );
  return [...new Set(members)];
}

function asBoolean(text: string): boolean | string {
  return text === "true" ? true : text === "false" ? false : text;
}

/** `10s`, `800ms`. @returns the text itself where it is neither, for the schema to refuse */
function durationMs(text: string): number | string {
  const [, digits, unit] = /^(\d{1,6})(ms|s)$/.exec(text) ?? [];
  if (digits === undefined) return text;
  return Number(digits) * (unit === "s" ? 1_000 : 1);
}

function isBlank(text: string, at: number): boolean {
  const code = text.charCodeAt(at);
  return code === 0x20 || code === 0x09;
}

function isFieldValue(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    if (((BYTE_CLASS[text.charCodeAt(i)] ?? 0) & VALUE) === 0) return false;
  }
  return true;
}
