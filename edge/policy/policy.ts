/**
 * What one port of a service asks of the edge, decided once when a row is applied, so that a request reads fields and no
 * options. A port that asks nothing has no policy at all, and its requests test that one field.
 *
 * A policy holds state (rate limits' buckets): it is kept as long as its options are the same (`key`), whatever else of
 * a row changes.
 */
import type { ServicePort } from "../../control/contract/machine.ts";
import type { Limits } from "../relay/limits.ts";
import type { TlsOptions } from "../tls/tls-options.ts";
import { Access } from "./access.ts";
import { type HeaderEdits, headerEditsOf } from "./header-edits.ts";
import type { KeySets } from "./key-sets.ts";
import type { PolicyCounts } from "./policy-counts.ts";
import { RateLimit } from "./rate-limit.ts";

export interface Policy {
  /** Equal for equal options. */
  readonly key: string;
  readonly forceHttps: boolean;
  readonly rateLimit: RateLimit | null;
  readonly access: Access | null;
  readonly compress: boolean;
  readonly headerEdits: HeaderEdits | null;
  /** What its handshakes offer; read by TLS listeners. */
  readonly tls: TlsOptions | null;
  /** The PROXY protocol's version that its machines get in front of all else. */
  readonly proxyOut: "v1" | "v2" | null;
  /** Its port carries bytes and no requests (`handlers` without `http`). */
  readonly tunnel: boolean;
  /** The edge's, with this service's times and sizes in place. */
  readonly limits: Limits;
}

/** What policies are made of besides their options. */
export interface PolicyDependencies {
  readonly limits: Limits;
  readonly keySets: KeySets;
  readonly counts: PolicyCounts;
}

function proxyOutOf({ handlers, proxy_proto_options }: ServicePort): Policy["proxyOut"] {
  return handlers.includes("proxy_proto") ? proxy_proto_options?.version ?? "v1" : null;
}

/** @returns what of a port's options is policy, as a text; null where nothing is */
export function policyKey(port: ServicePort): string | null {
  const { force_https, http_options, tls_options, handlers } = port;
  const tunnel = !handlers.includes("http");
  const proxyOut = proxyOutOf(port);
  const { compress, idle_timeout, headers_read_timeout, response, body_bytes_max, rate_limit, access } =
    http_options ?? {};
  const asks = [
    force_https,
    tunnel,
    proxyOut ?? undefined,
    compress,
    idle_timeout,
    headers_read_timeout,
    response,
    body_bytes_max,
    rate_limit,
    access,
    tls_options,
  ];
  return asks.every((value) => value === undefined || value === false) ? null : JSON.stringify(asks);
}

export function makePolicy(
  key: string,
  port: ServicePort,
  { limits, keySets, counts }: PolicyDependencies,
): Policy {
  const options = port.http_options ?? {};
  const rate = options.rate_limit;
  return {
    key,
    forceHttps: port.force_https,
    rateLimit: rate === undefined ? null : new RateLimit({
      requests: rate.requests,
      perS: rate.per_s,
      ...(rate.burst === undefined ? {} : { burst: rate.burst }),
    }, counts),
    access: options.access === undefined ? null : new Access(options.access, keySets),
    compress: options.compress === true,
    headerEdits: headerEditsOf(options.response),
    tls: port.tls_options ?? null,
    proxyOut: proxyOutOf(port),
    tunnel: !port.handlers.includes("http"),
    limits: limitsOf(port, limits),
  };
}

/**
 * `idle_timeout` is how long either side may be silent inside an exchange: before the response, within a body, in a
 * tunnel. `headers_read_timeout` is known once a connection has named its service, so it holds from the second request
 * on; the first head has the edge's own limit.
 */
function limitsOf(port: ServicePort, limits: Limits): Limits {
  const { idle_timeout, headers_read_timeout, body_bytes_max } = port.http_options ?? {};
  const idleMs = idle_timeout === undefined ? null : idle_timeout * 1_000;
  return {
    ...limits,
    ...(idleMs === null ? {} : {
      bodyIdleMsMax: idleMs,
      responseWaitMsMax: idleMs,
      responseIdleMsMax: idleMs,
      tunnelIdleMsMax: idleMs,
    }),
    ...(headers_read_timeout === undefined ? {} : { headWaitMsMax: headers_read_timeout * 1_000 }),
    bodyBytesMax: Math.min(limits.bodyBytesMax, body_bytes_max ?? Infinity),
  };
}
