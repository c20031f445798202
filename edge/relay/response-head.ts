/**
 * Reads a scanned response head of a machine (RFC 9112 section 4 to 6). Anything ambiguous makes it a bad response, and
 * the client gets the lines that say where the message ends in one form, whatever tabs, spaces or zeros they came with.
 */
import { BYTE_CLASS, DIGIT, SP, VALUE } from "./byte-class.ts";
import { ConnectionOptions } from "./connection-options.ts";
import { FieldCursor, withoutFields } from "./field-cursor.ts";
import { decimal, hasLeadingZero } from "./request-head.ts";

/** The body ends with the connection. */
export const UNTIL_CLOSE = -2;
export const CHUNKED = -1;

export class ResponseHead {
  status = 0;
  /** ` REASON` with its space, or empty. */
  reason = "";
  /** Bytes, CHUNKED or UNTIL_CLOSE, before the request's method is considered. */
  length = UNTIL_CLOSE;
  keepAlive = true;
  upgrade: string | null = null;
  hasDate = false;
  /** Another edge asks to pick again; believed of another edge alone. */
  sendBack: string | null = null;
  /** What `fly-replay` says. */
  replay: string | null = null;
  /** The body says it. */
  replayInBody = false;
  /** Lines that go on to the client, each with CR LF. */
  fields = "";
}

const FRAMING = new Set(["content-length", "transfer-encoding"]);

const cursor = new FieldCursor();

/** @returns what is wrong, in words, for a head that cannot be trusted */
export function parseResponseHead(text: string): ResponseHead | string {
  const head = new ResponseHead();
  if (!text.startsWith("HTTP/1.") || text.charCodeAt(8) !== SP) return "the status line is not HTTP/1.x";
  const minor = text.charCodeAt(7) - 48;
  if (minor !== 0 && minor !== 1) return "the status line is not HTTP/1.0 or 1.1";
  for (let i = 9; i < 12; i++) {
    if ((BYTE_CLASS[text.charCodeAt(i)]! & DIGIT) === 0) return "the status code is not three digits";
    head.status = head.status * 10 + text.charCodeAt(i) - 48;
  }
  if (head.status < 100 || head.status > 599) return `the status code ${head.status} does not exist`;
  let at = 12;
  if (text.charCodeAt(at) === SP) {
    at++;
    while ((BYTE_CLASS[text.charCodeAt(at)]! & VALUE) !== 0) at++;
  }
  if (!text.startsWith("\r\n", at)) return "the status line holds a forbidden byte";
  head.reason = text.slice(12, at);

  let kept = "", plain = "";
  let runStart = at + 2;
  let hasLength = false, chunked = false;
  let upgrade: string | null = null;
  let connection: ConnectionOptions | null = null;

  cursor.begin(text, runStart);
  while (cursor.next < text.length) {
    if (!cursor.advance()) return "a header line is not valid";
    if (cursor.name === null || (cursor.underscored && !FRAMING.has(cursor.name))) continue;
    let remove = true;
    switch (cursor.name) {
      // With underscores these two are left out: a client that takes them for hyphens would see another end.
      case "content-length": {
        if (cursor.underscored) break;
        const length = decimal(cursor.value);
        if (hasLength || length === -1) return "Content-Length is repeated or not a number";
        hasLength = true;
        head.length = length;
        remove = false;
        if (!cursor.plain || hasLeadingZero(text, cursor.valueStart, cursor.valueEnd)) {
          plain = `Content-Length: ${length}\r\n`;
        }
        break;
      }
      case "transfer-encoding":
        if (cursor.underscored) break;
        if (chunked || minor === 0 || cursor.value.toLowerCase() !== "chunked") {
          return "Transfer-Encoding is not `chunked` alone";
        }
        chunked = true;
        remove = false;
        if (!cursor.plain || cursor.value !== "chunked") plain = "Transfer-Encoding: chunked\r\n";
        break;
      case "connection":
      case "proxy-connection":
        (connection ??= new ConnectionOptions()).add(cursor.value);
        break;
      case "upgrade":
        upgrade = cursor.value;
        break;
      case "date":
        head.hasDate = true;
        remove = false;
        break;
      case "fly-replay":
        // Two of them are none that can be followed.
        head.replay = head.replay === null ? cursor.value : ";=;";
        remove = false;
        break;
      case "content-type":
        head.replayInBody ||= isReplay(text, cursor.valueStart);
        remove = false;
        break;
      case "godwit-send-back":
        head.sendBack = cursor.value;
        break;
      case "keep-alive":
      case "te":
      case "server":
      case "fly-request-id":
        break;
      default:
        remove = false;
    }
    if (!remove && plain === "") continue;
    kept += text.slice(runStart, cursor.start) + plain;
    plain = "";
    runStart = cursor.next;
  }
  kept += text.slice(runStart);

  if (hasLength && chunked) return "Content-Length and Transfer-Encoding are both there";
  if (chunked) head.length = CHUNKED;
  if (connection?.upgrade === true || head.status === 101) head.upgrade = upgrade;
  head.keepAlive = connection?.close !== true && (minor === 1 || connection?.keepAlive === true);
  const names = connection?.listed ?? null;
  if (names !== null) {
    for (const name of ["content-length", "transfer-encoding", "date"]) names.delete(name);
    kept = withoutFields(kept, names);
  }
  // RFC 9112 section 6.1 and 6.2: there they mean nothing, and a lenient client would take the next response for a body.
  if ((hasLength || chunked) && (head.status < 200 || head.status === 204)) {
    kept = withoutFields(kept, FRAMING);
  }
  head.fields = kept;
  return head;
}

const REPLAY_TYPE = "application/vnd.fly.replay+json";

function isReplay(text: string, at: number): boolean {
  const code = text.charCodeAt(at + 12) | 32;
  return code === 0x76 && text.slice(at, at + REPLAY_TYPE.length).toLowerCase() === REPLAY_TYPE;
}

/** Bytes that follow the head on the wire: RFC 9112 section 6.3, rules 1 to 3. */
export function bodyLength(head: ResponseHead, method: string): number {
  if (method === "HEAD" || head.status < 200 || head.status === 204 || head.status === 304) return 0;
  return head.length;
}
