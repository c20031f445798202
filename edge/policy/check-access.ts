/** Asks a service's `access` about a request, and puts the answer in terms of HTTP (RFC 6750 section 3). */
import { messageOf } from "../../control/contract/errors.ts";
import type { Edge } from "../edge.ts";
import type { Refusal } from "../relay/refusal.ts";
import type { Exchange } from "../request/exchange.ts";
import type { Access } from "./access.ts";
import { KEYS_UNAVAILABLE, SCOPE_MISSING, TOKEN_INVALID, TOKEN_MISSING } from "./policy-refusals.ts";

/** @returns null where the request may go on; never rejects */
export async function checkAccess(edge: Edge, exchange: Exchange, access: Access): Promise<Refusal | null> {
  const verdict = await access.check(exchange.head.fields, edge.wallMs());
  const challenge = `WWW-Authenticate: Bearer realm="${exchange.head.host}"`;
  switch (verdict.kind) {
    case "granted":
      return null;
    case "token_missing":
      exchange.answerFields = `${challenge}\r\n`;
      return TOKEN_MISSING;
    case "token_invalid":
      exchange.answerFields =
        `${challenge}, error="invalid_token", error_description="${verdict.reason}"\r\n`;
      return TOKEN_INVALID;
    case "scope_missing":
      exchange.answerFields = `${challenge}, error="insufficient_scope", scope="${access.scope}"\r\n`;
      return SCOPE_MISSING;
    case "keys_unavailable":
      edge.log.warn({ app: exchange.app?.name, err: messageOf(verdict.cause) }, "cannot check access tokens");
      return KEYS_UNAVAILABLE;
  }
}
