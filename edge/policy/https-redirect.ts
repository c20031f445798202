/** `force_https`: who asks over plain HTTP is sent to the same place over HTTPS. */
import type { RequestHead } from "../relay/request-head.ts";

/** RFC 8555 section 8.3: a certificate is asked for over plain HTTP, before HTTPS can work. */
const ACME_PREFIX = "/.well-known/acme-challenge/";

/** @returns where to send the client; null where its request is served as it is */
export function httpsLocation(head: RequestHead): string | null {
  if (head.target.startsWith(ACME_PREFIX)) return null;
  return `https://${head.host}${head.target === "*" ? "/" : head.target}`;
}
