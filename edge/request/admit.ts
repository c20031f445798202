/**
 * admit: may this request go further? The parser has refused what is malformed or too large already; here stand the
 * policies of its service, the cheap ones first. A service without any costs one field test.
 */
import type { Edge } from "../edge.ts";
import { checkAccess } from "../policy/check-access.ts";
import { clientKey } from "../policy/client-key.ts";
import { httpsLocation } from "../policy/https-redirect.ts";
import type { Policy } from "../policy/policy.ts";
import { HTTPS_REQUIRED, RATE_LIMITED } from "../policy/policy-refusals.ts";
import { BODY_TOO_LARGE, type Refusal } from "../relay/refusal.ts";
import type { RequestHead } from "../relay/request-head.ts";
import type { Exchange } from "./exchange.ts";

/** @returns null where it may; a promise, which never rejects, where a token must be checked */
export function admit(edge: Edge, exchange: Exchange): Refusal | Promise<Refusal | null> | null {
  const policy = exchange.service!.policy;
  applyLimits(exchange);
  if (exchange.head.contentLength > exchange.limits.bodyBytesMax) return BODY_TOO_LARGE;
  if (policy === null) return null;
  const refusal = requireHttps(policy, exchange) ?? limitRate(edge, policy, exchange);
  if (refusal !== null || policy.access === null) return refusal;
  return checkAccess(edge, exchange, policy.access);
}

/** @returns where `force_https` sends the client; null where it does not */
export function redirect(policy: Policy, head: RequestHead, tls: boolean): string | null {
  return policy.forceHttps && !tls ? httpsLocation(head) : null;
}

/** A connection that carries bytes and no requests: of its service's policies those that need no request. */
export function admitTunnel(edge: Edge, exchange: Exchange): Refusal | null {
  const policy = exchange.service!.policy;
  if (policy === null) return null;
  applyLimits(exchange);
  return limitRate(edge, policy, exchange);
}

/** Times and sizes are the service's own from here on. */
export function applyLimits(exchange: Exchange): void {
  const policy = exchange.service!.policy;
  if (policy === null) return;
  exchange.limits = policy.limits;
  if (policy.proxyOut !== null) exchange.dedicated = true;
}

function requireHttps(policy: Policy, exchange: Exchange): Refusal | null {
  const location = redirect(policy, exchange.head, exchange.client.listener.tls);
  if (location === null) return null;
  exchange.answerFields = `Location: ${location}\r\n`;
  return HTTPS_REQUIRED;
}

function limitRate(edge: Edge, policy: Policy, exchange: Exchange): Refusal | null {
  const limit = policy.rateLimit;
  if (limit === null) return null;
  const waitMs = limit.take(clientKey(exchange.client.address), edge.nowMs());
  if (waitMs === 0) return null;
  exchange.answerFields = `Retry-After: ${Math.ceil(waitMs / 1_000)}\r\n`;
  return RATE_LIMITED;
}
