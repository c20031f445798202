/**
 * W3C Trace Context (https://www.w3.org/TR/trace-context/): where in somebody else's trace a request belongs. A
 * `traceparent` that is not valid is as good as none, and a `tracestate` is worth nothing without it; neither refuses a
 * request.
 */
export interface TraceParent {
  /** 32 lower-case hexadecimal digits, not all 0. */
  readonly traceId: string;
  /** 16 of them. */
  readonly spanId: string;
  readonly sampled: boolean;
}

/** Section 3.3.1.5 asks for at least this much; entries that make it longer go, the large ones first. */
export const TRACE_STATE_CHARACTERS_MAX = 512;
export const TRACE_STATE_MEMBERS_MAX = 32;
const LARGE_MEMBER_CHARACTERS = 128;

const LENGTH = 55;
const DASHES = [2, 35, 52];

/** Section 3.2.2. A version above 00 is read as far as 00 goes; `ff` is none. */
export function parseTraceParent(value: string): TraceParent | null {
  if (value.length < LENGTH) return null;
  for (let i = 0; i < LENGTH; i++) {
    if (DASHES.includes(i) ? value[i] !== "-" : !isLowerHex(value.charCodeAt(i))) return null;
  }
  const version = value.slice(0, 2);
  if (version === "ff" || (value.length > LENGTH && (version === "00" || value[LENGTH] !== "-"))) return null;
  const traceId = value.slice(3, 35);
  const spanId = value.slice(36, 52);
  if (isAllZero(traceId) || isAllZero(spanId)) return null;
  return { traceId, spanId, sampled: (parseInt(value.slice(53, LENGTH), 16) & 1) === 1 };
}

/** Section 3.2. */
export function formatTraceParent({ traceId, spanId, sampled }: TraceParent): string {
  return `00-${traceId}-${spanId}-${sampled ? "01" : "00"}`;
}

/** Section 3.3.1.3: a key with or without a tenant. */
const KEY = /^(?:[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})$/;
const VALUE = /^[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$/;

/** @returns the list as it goes on, or null where it is not valid or says nothing (section 3.3.1) */
export function checkedTraceState(value: string): string | null {
  const members = value.split(",").map((member) => member.trim()).filter((member) => member !== "");
  if (members.length === 0 || members.length > TRACE_STATE_MEMBERS_MAX) return null;
  const keys = new Set<string>();
  for (const member of members) {
    const at = member.indexOf("=");
    const key = member.slice(0, at);
    if (at === -1 || keys.has(key) || !KEY.test(key) || !VALUE.test(member.slice(at + 1))) return null;
    keys.add(key);
  }
  let kept = members;
  const isTooLong = () => kept.join(",").length > TRACE_STATE_CHARACTERS_MAX;
  if (isTooLong()) kept = kept.filter((member) => member.length <= LARGE_MEMBER_CHARACTERS);
  while (isTooLong()) kept.pop();
  return kept.length === 0 ? null : kept.join(",");
}

function isLowerHex(code: number): boolean {
  return (code >= 0x30 && code <= 0x39) || (code >= 0x61 && code <= 0x66);
}

function isAllZero(digits: string): boolean {
  for (let i = 0; i < digits.length; i++) if (digits[i] !== "0") return false;
  return true;
}
