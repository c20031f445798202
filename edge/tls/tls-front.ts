/** What all TLS listeners of an edge share: certificates, answers to ACME, limits and counts. */
import { readFile } from "node:fs/promises";
import type { Logger } from "pino";
import { GodwitError, messageOf } from "../../control/contract/errors.ts";
import type { EdgeTls } from "../../control/contract/process-config.ts";
import type { RowChange } from "../routes/route-table.ts";
import { AcmeAnswers } from "./acme-answers.ts";
import { CertificateStore } from "./certificate-store.ts";
import { HANDSHAKE_LIMITS, type HandshakeLimits, TokenBuckets } from "./handshake-limits.ts";
import { makeCertificate } from "./make-certificate.ts";
import { openerOf, openNothing, type OpenSealedKey, readOpeningKeys } from "./open-sealed-key.ts";
import { TlsCounts } from "./tls-counts.ts";
import type { TlsOptions } from "./tls-options.ts";
import type { TlsRefusal } from "./tls-refusals.ts";

const DEFAULT_NAME = "godwit.invalid";
const DEFAULT_DAYS = 365;
const DAY_MS = 86_400_000;

export interface TlsFrontOptions {
  readonly config: EdgeTls;
  readonly limits: Partial<HandshakeLimits>;
  readonly log: Logger;
  readonly nowMs: () => number;
  readonly wallMs: () => number;
  /** The `tls_options` of the service at this name and port. */
  readonly optionsOf: (serverName: string, servicePort: number) => TlsOptions | null;
}

export class TlsFront {
  readonly limits: HandshakeLimits;
  readonly certificates: CertificateStore;
  readonly acme = new AcmeAnswers();
  readonly counts = new TlsCounts();
  readonly ranges: TokenBuckets;
  readonly names: TokenBuckets;
  readonly nowMs: () => number;
  readonly wallMs: () => number;
  readonly optionsOf: (serverName: string, servicePort: number) => TlsOptions | null;
  /** Handshakes under way. */
  pending = 0;
  readonly #config: EdgeTls;
  readonly #log: Logger;
  #openKey: OpenSealedKey = openNothing;

  constructor({ config, limits, log, nowMs, wallMs, optionsOf }: TlsFrontOptions) {
    this.#config = config;
    this.#log = log;
    this.nowMs = nowMs;
    this.wallMs = wallMs;
    this.optionsOf = optionsOf;
    this.limits = { ...HANDSHAKE_LIMITS, ...limits };
    const { perRangeS, rangeBurst, perNameS, nameBurst, bucketsMax } = this.limits;
    this.ranges = new TokenBuckets(perRangeS, rangeBurst, bucketsMax);
    this.names = new TokenBuckets(perNameS, nameBurst, bucketsMax);
    this.certificates = new CertificateStore({
      openKey: (sealed) => this.#openKey(sealed),
      wallMs,
      onUnusable: (key, reason) => log.error({ certificate: key, reason }, "a certificate cannot be used"),
    });
  }

  /**
   * Reads the files that the configuration names; again where they may have changed.
   * @throws GodwitError `edge.certificate_unusable`, `edge.sealing_key_unusable`; what was in use then stays so
   */
  async load(): Promise<void> {
    const { certificate_file, key_file, sealing_key_file } = this.#config;
    if (sealing_key_file !== undefined) this.#openKey = openerOf(await readOpeningKeys(sealing_key_file));
    if (certificate_file === undefined || key_file === undefined) return this.#signDefault();
    try {
      const [chain, key] = await Promise.all([
        readFile(certificate_file, "utf8"),
        readFile(key_file, "utf8"),
      ]);
      this.certificates.setDefault(chain, key);
    } catch (error) {
      throw new GodwitError(
        "edge.certificate_unusable",
        `Cannot use certificate ${certificate_file} with key ${key_file}: ${messageOf(error)}`,
        { fault: "us", hint: "Both are PEM files; the key must be the certificate's." },
      );
    }
  }

  #signDefault(): void {
    const nowMs = this.wallMs();
    const { chain, key } = makeCertificate({
      names: [DEFAULT_NAME],
      notBeforeMs: nowMs - DAY_MS,
      notAfterMs: nowMs + DEFAULT_DAYS * DAY_MS,
    });
    this.certificates.setDefault(chain, key);
  }

  /** Of the rows that it holds. */
  keys(table: "certificates" | "acme_answers"): Iterable<string> {
    return table === "certificates" ? this.certificates.keys() : this.acme.keys();
  }

  apply(changes: readonly RowChange[]): void {
    for (const change of changes) {
      if (change.table === "certificates") this.certificates.apply([change]);
      else if (change.table === "acme_answers") this.acme.apply([change]);
    }
  }

  /** Counts, and logs the 1st, 10th, 100th, …: an attack must not fill the log. */
  refused(refusal: TlsRefusal, serverName: string | null, address: string, detail: string): void {
    const known = serverName !== null && this.certificates.covers(serverName);
    const count = this.counts.refused(refusal, serverName, known);
    if (!/^10*$/.test(String(count))) return;
    const { code, family } = refusal;
    this.#log.warn({ code, family, count, server_name: serverName, address, detail }, "handshake failed");
  }

  sizes() {
    const { names, contexts } = this.certificates.sizes;
    return {
      pending: this.pending,
      certificates: names,
      contexts,
      contextsEvicted: this.certificates.evicted,
      certificatesUnusable: this.certificates.unusable,
      bucketsForgotten: this.ranges.forgotten + this.names.forgotten,
    };
  }
}
