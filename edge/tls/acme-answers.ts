/**
 * What an ACME server gets to see while it validates a name: control orders, edges answer, out of rows. http-01 is a file
 * (RFC 8555 section 8.3), tls-alpn-01 a certificate of its own (RFC 8737), made when it is asked for and kept until the
 * row changes.
 */
import { createHash } from "node:crypto";
import type { SecureContext } from "node:tls";
import type { AcmeAnswerRow } from "../../control/contract/rows.ts";
import { makeCertificate } from "./make-certificate.ts";
import { makeContext } from "./tls-options.ts";

export const ACME_TLS = "acme-tls/1";
export const ACME_PATH = "/.well-known/acme-challenge/";
const CERTIFICATE_MS = 7 * 86_400_000;
const CLOCK_SKEW_MS = 86_400_000;

export interface AcmeAnswerChange {
  readonly key: string;
  readonly row: AcmeAnswerRow | null;
}

interface AlpnAnswer {
  readonly keyAuthorization: string;
  context: SecureContext | null;
}

export class AcmeAnswers {
  readonly #http = new Map<string, { readonly host: string; readonly keyAuthorization: string }>();
  readonly #alpn = new Map<string, AlpnAnswer>();

  /** Requests need looking at only while there is something to answer. */
  get httpAny(): boolean {
    return this.#http.size > 0;
  }
  get size(): number {
    return this.#http.size + this.#alpn.size;
  }

  /** Of the rows that it holds. */
  *keys(): Iterable<string> {
    for (const token of this.#http.keys()) yield `http-01/${token}`;
    for (const host of this.#alpn.keys()) yield `tls-alpn-01/${host}`;
  }

  apply(changes: readonly AcmeAnswerChange[]): void {
    for (const { key, row } of changes) {
      const slash = key.indexOf("/");
      const type = key.slice(0, slash), id = key.slice(slash + 1);
      if (type === "http-01") {
        if (row === null) this.#http.delete(id);
        else this.#http.set(id, { host: row.host, keyAuthorization: row.key_authorization });
      } else if (row === null) this.#alpn.delete(id);
      else this.#alpn.set(id, { keyAuthorization: row.key_authorization, context: null });
    }
  }

  /** @returns the key authorization; null where it is not ours to answer */
  http(host: string, token: string): string | null {
    const answer = this.#http.get(token);
    return answer === undefined || answer.host !== host ? null : answer.keyAuthorization;
  }

  /** @returns null for names that nobody orders a certificate for */
  alpn(host: string, wallMs: number): SecureContext | null {
    const answer = this.#alpn.get(host);
    if (answer === undefined) return null;
    if (answer.context === null) {
      const { chain, key } = makeCertificate({
        names: [host],
        notBeforeMs: wallMs - CLOCK_SKEW_MS,
        notAfterMs: wallMs + CERTIFICATE_MS,
        acmeIdentifier: createHash("sha256").update(answer.keyAuthorization).digest(),
      });
      answer.context = makeContext(chain, key, "1.2-1.3");
    }
    return answer.context;
  }
}
