/**
 * Reads a scanned request head (RFC 9112 section 3, 5 and 6; RFC 9110 section 7). Whatever two readers could read
 * differently is refused. The lines that go on to the machine are kept as they came, in order and case: `fields` is the
 * input with the removed lines cut out, which for most requests is a single slice. Only the lines that say where the
 * message ends and whose it is are written anew where they came with tabs, more spaces or leading zeros: a machine that
 * compares bytes would not know them.
 */
import { type Steering, steeringField } from "../balance/steering.ts";
import { BYTE_CLASS, SP, TARGET, TOKEN } from "./byte-class.ts";
import { ConnectionOptions } from "./connection-options.ts";
import { eachListMember, FieldCursor, withoutFields } from "./field-cursor.ts";
import { hostName } from "./host-name.ts";
import type { Limits } from "./limits.ts";
import {
  AMBIGUOUS_NAME,
  BAD_FIELD,
  BAD_HOST,
  BAD_LENGTH,
  BAD_REQUEST_LINE,
  BAD_TARGET,
  BAD_TRANSFER_ENCODING,
  BODY_NOT_ALLOWED,
  BODY_TOO_LARGE,
  EXPECTATION_FAILED,
  LENGTH_AND_CHUNKED,
  METHOD_REFUSED,
  type Refusal,
  UNKNOWN_CODING,
  VERSION_REFUSED,
} from "./refusal.ts";

const METHOD_BYTES_MAX = 32;
/** 15 digits stay below Number.MAX_SAFE_INTEGER. */
const LENGTH_DIGITS_MAX = 15;
const EXPECT = new Set(["expect"]);
const BODY_MEANS_NOTHING = new Set(["GET", "HEAD", "DELETE", "OPTIONS"]);

export class RequestHead {
  method = "";
  /** Origin-form or `*`, as it goes to the machine. */
  target = "";
  /** Normalised for look-ups: lower case, no port. */
  host = "";
  /** Minor version of HTTP/1. */
  minor: 0 | 1 = 1;
  /** Bytes of the body; 0 where there is none; -1 where it is chunked. */
  contentLength = 0;
  /** The client wants its connection kept. */
  keepAlive = true;
  /** What the client offers to switch to, in a request that may switch; else null. */
  upgrade: string | null = null;
  expectsContinue = false;
  /** Lines that go on, each with CR LF. */
  fields = "";
  forwardedFor: string | null = null;
  forwardedPort: string | null = null;
  accept: string | null = null;
  userAgent: string | null = null;
  /** Where the request asks to go; null for most. */
  steering: Steering | null = null;
  /** What another edge says of the request; believed on a peer listener alone (`request/peer-field.ts`). */
  peer: string | null = null;

  get hasBody(): boolean {
    return this.contentLength !== 0;
  }

  /**
   * A body that means nothing (RFC 9110 section 9.3): a machine that leaves it unread would take it for the next request,
   * so its connection must not carry one.
   */
  get bodyMayStayUnread(): boolean {
    return this.contentLength !== 0 && BODY_MEANS_NOTHING.has(this.method);
  }
}

const cursor = new FieldCursor();

/** @param text what HeadScanner found: lines with CR LF each */
export function parseRequestHead(text: string, limits: Limits): RequestHead | Refusal {
  const head = new RequestHead();

  let at = 0;
  while ((BYTE_CLASS[text.charCodeAt(at)]! & TOKEN) !== 0) at++;
  if (at === 0 || at > METHOD_BYTES_MAX || text.charCodeAt(at) !== SP) return BAD_REQUEST_LINE;
  head.method = text.slice(0, at);
  const targetStart = ++at;
  while ((BYTE_CLASS[text.charCodeAt(at)]! & TARGET) !== 0) at++;
  if (at === targetStart || text.charCodeAt(at) !== SP) return BAD_TARGET;
  const target = text.slice(targetStart, at);
  const versionEnd = at + 9;
  if (!text.startsWith("HTTP/", at + 1) || !text.startsWith("\r\n", versionEnd)) return BAD_REQUEST_LINE;
  const version = text.slice(at + 6, versionEnd);
  if (version === "1.1") head.minor = 1;
  else if (version === "1.0") head.minor = 0;
  else return isVersion(version) ? VERSION_REFUSED : BAD_REQUEST_LINE;
  if (head.method === "CONNECT") return METHOD_REFUSED;

  let authority: string | null = null, defaultPort = "";
  if (target.charCodeAt(0) === 0x2f) head.target = target;
  else if (target === "*") {
    if (head.method !== "OPTIONS") return BAD_TARGET;
    head.target = target;
  } else {
    const parts = absoluteForm(target, head.method);
    if (parts === null) return BAD_TARGET;
    authority = parts.authority;
    defaultPort = parts.defaultPort;
    head.target = parts.path;
  }

  let kept = "", plain = "";
  let runStart = versionEnd + 2;
  let hostValue: string | null = null;
  let hasLength = false, chunked = false;
  let expects = false;
  let upgrade: string | null = null;
  let connection: ConnectionOptions | null = null;

  cursor.begin(text, runStart);
  while (cursor.next < text.length) {
    if (!cursor.advance()) return BAD_FIELD;
    if (cursor.name === null) continue;
    let remove = true;
    switch (cursor.name) {
      case "host":
        if (hostValue !== null) return BAD_HOST;
        hostValue = cursor.value;
        remove = authority !== null;
        if (!remove && !cursor.plain) plain = `Host: ${hostValue}\r\n`;
        break;
      case "content-length": {
        if (cursor.underscored) return AMBIGUOUS_NAME;
        const length = decimal(cursor.value);
        if (hasLength || length === -1) return BAD_LENGTH;
        hasLength = true;
        head.contentLength = length;
        remove = false;
        if (!cursor.plain || hasLeadingZero(text, cursor.valueStart, cursor.valueEnd)) {
          plain = `Content-Length: ${length}\r\n`;
        }
        break;
      }
      case "transfer-encoding":
        if (cursor.underscored) return AMBIGUOUS_NAME;
        if (chunked || head.minor === 0) return BAD_TRANSFER_ENCODING;
        if (cursor.value.toLowerCase() !== "chunked") return UNKNOWN_CODING;
        chunked = true;
        remove = false;
        if (!cursor.plain || cursor.value !== "chunked") plain = "Transfer-Encoding: chunked\r\n";
        break;
      case "connection":
      case "proxy-connection":
        (connection ??= new ConnectionOptions()).add(cursor.value);
        break;
      case "upgrade":
        upgrade = upgrade === null ? cursor.value : `${upgrade}, ${cursor.value}`;
        break;
      case "expect":
        if (expects || cursor.value.toLowerCase() !== "100-continue") return EXPECTATION_FAILED;
        expects = true;
        remove = false;
        if (!cursor.plain) plain = "Expect: 100-continue\r\n";
        break;
      case "x-forwarded-for":
        if (cursor.underscored) break;
        head.forwardedFor = head.forwardedFor === null
          ? cursor.value
          : `${head.forwardedFor}, ${cursor.value}`;
        break;
      case "x-forwarded-port":
        if (!cursor.underscored) head.forwardedPort = cursor.value;
        break;
      case "accept":
        head.accept = cursor.value;
        remove = false;
        break;
      case "user-agent":
        head.userAgent = cursor.value;
        remove = false;
        break;
      case "fly-force-instance-id":
      case "fly-prefer-instance-id":
      case "fly-force-region":
      case "fly-prefer-region":
        if (!cursor.underscored) head.steering = steeringField(head.steering, cursor.name, cursor.value);
        remove = false;
        break;
      case "godwit-peer":
        head.peer = cursor.value;
        break;
      case "content-type":
      case "trailer":
      case "server":
      case "date":
        remove = false;
        break;
      default:
        // Hop-by-hop fields, those that only an edge may say, and Proxy, which CGI would take for HTTP_PROXY.
        break;
    }
    if (!remove && plain === "") continue;
    kept += text.slice(runStart, cursor.start) + plain;
    plain = "";
    runStart = cursor.next;
  }
  kept += text.slice(runStart);

  if (hasLength && chunked) return LENGTH_AND_CHUNKED;
  if (chunked) head.contentLength = -1;
  if (head.contentLength > limits.bodyBytesMax) return BODY_TOO_LARGE;
  if (head.method === "TRACE" && head.contentLength !== 0) return BODY_NOT_ALLOWED;
  // RFC 9110 section 10.1.1: it is about a body; a machine that waits for one that never comes would be out of step.
  head.expectsContinue = expects && head.hasBody && head.minor === 1;
  if (expects && !head.expectsContinue) kept = withoutFields(kept, EXPECT);

  if (hostValue === null) return BAD_HOST;
  const host = hostName(hostValue);
  if (host === null) return BAD_HOST;
  head.host = host;
  if (authority !== null) {
    // RFC 9112 section 3.2.2 lets the target win; a machine behind a lenient reader would not know. Both must agree.
    const named = port(authority, defaultPort);
    if (hostName(authority) !== host || named !== port(hostValue, defaultPort)) return BAD_HOST;
    kept = `Host: ${host}${named === defaultPort ? "" : `:${named}`}\r\n${kept}`;
  }

  head.keepAlive = connection?.close !== true && (head.minor === 1 || connection?.keepAlive === true);
  if (
    connection?.upgrade === true && upgrade !== null && head.minor === 1 && !head.hasBody &&
    mayUpgradeTo(upgrade)
  ) {
    head.upgrade = upgrade;
  }
  const listed = connection?.listed ?? null;
  head.fields = listed === null ? kept : withoutFields(kept, endToEnd(listed));
  return head;
}

/** Framing and routing fields stay, whatever a Connection header says of them. */
function endToEnd(listed: Set<string>): Set<string> {
  for (const name of ["host", "content-length", "transfer-encoding", "expect"]) listed.delete(name);
  return listed;
}

/** HTTP/2 would take the requests that follow out of the edge's sight. */
function mayUpgradeTo(upgrade: string): boolean {
  let allowed = upgrade !== "";
  eachListMember(upgrade, (protocol) => {
    if (protocol.startsWith("h2") || protocol.startsWith("http/")) allowed = false;
  });
  return allowed;
}

function isVersion(version: string): boolean {
  return version.length === 3 && version[1] === "." && version[0]! >= "0" && version[0]! <= "9" &&
    version[2]! >= "0" && version[2]! <= "9";
}

/** 1*DIGIT, or -1. */
export function decimal(value: string): number {
  if (value.length === 0 || value.length > LENGTH_DIGITS_MAX) return -1;
  let length = 0;
  for (let i = 0; i < value.length; i++) {
    const digit = value.charCodeAt(i) - 48;
    if (digit < 0 || digit > 9) return -1;
    length = length * 10 + digit;
  }
  return length;
}

/** Of an authority that `hostName` has found valid; without leading zeros. */
function port(authority: string, byDefault: string): string {
  const colon = authority.lastIndexOf(":");
  if (colon === -1 || authority.endsWith("]")) return byDefault;
  return String(decimal(authority.slice(colon + 1)));
}

export function hasLeadingZero(text: string, start: number, end: number): boolean {
  return text.charCodeAt(start) === 0x30 && end - start > 1;
}

interface AbsoluteForm {
  readonly authority: string;
  readonly defaultPort: string;
  readonly path: string;
}

function absoluteForm(target: string, method: string): AbsoluteForm | null {
  const scheme = target.slice(0, 8).toLowerCase();
  const start = scheme.startsWith("http://") ? 7 : scheme === "https://" ? 8 : -1;
  if (start === -1) return null;
  let end = start;
  while (end < target.length && target[end] !== "/" && target[end] !== "?") end++;
  const authority = target.slice(start, end);
  const rest = target.slice(end);
  const defaultPort = start === 7 ? "80" : "443";
  const path = rest === "" ? (method === "OPTIONS" ? "*" : "/") : rest[0] === "/" ? rest : `/${rest}`;
  return { authority, defaultPort, path };
}
