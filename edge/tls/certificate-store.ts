/**
 * Which certificate answers for a name: the one of that name, else the wildcard one label up, else the default. A name
 * can have a custom certificate and one by ACME; the custom one goes first while it can be used.
 *
 * Contexts (key opened, certificate parsed, 12 KB each) are made when a handshake first asks and kept up to a bound. A row
 * that changes only drops the context: connections keep the one that they began with, the next handshake gets the new.
 */
import { createPrivateKey, X509Certificate } from "node:crypto";
import type { SecureContext } from "node:tls";
import { messageOf } from "../../control/contract/errors.ts";
import type { CertificateRow } from "../../control/contract/rows.ts";
import type { OpenSealedKey } from "./open-sealed-key.ts";
import { makeContext, type Versions } from "./tls-options.ts";

export const CONTEXTS_MAX = 4_096;

export interface CertificateChange {
  readonly key: string;
  readonly row: CertificateRow | null;
}

export interface CertificateStoreOptions {
  readonly openKey: OpenSealedKey;
  readonly wallMs: () => number;
  /** A row's certificate cannot be used; told once for each row. */
  readonly onUnusable: (key: string, reason: string) => void;
  readonly contextsMax?: number;
}

/** All that is known for one name or wildcard. */
interface NameEntry {
  readonly name: string;
  custom: CertificateRow | null;
  acme: CertificateRow | null;
  /** Rows found unusable, until they change. */
  readonly unusable: Set<CertificateRow>;
}

interface KeptContext {
  readonly context: SecureContext;
  /** From then on another row of the same name may be the better one. */
  readonly untilMs: number;
}

export class CertificateStore {
  readonly #options: CertificateStoreOptions;
  readonly #names = new Map<string, NameEntry>();
  /** By name and versions; the one used longest ago first. */
  readonly #contexts = new Map<string, KeptContext>();
  readonly #making = new Map<string, Promise<SecureContext>>();
  readonly #defaults = new Map<Versions, SecureContext>();
  #default: { chain: string; key: string } | null = null;
  /** Contexts dropped because there were more than the bound. */
  evicted = 0;
  /** Rows that could not be used. */
  unusable = 0;

  constructor(options: CertificateStoreOptions) {
    this.#options = options;
  }

  get sizes(): { names: number; contexts: number } {
    return { names: this.#names.size, contexts: this.#contexts.size };
  }

  /** Of the rows that it holds. */
  *keys(): Iterable<string> {
    for (const { name, custom, acme } of this.#names.values()) {
      if (custom !== null) yield `${name}/custom`;
      if (acme !== null) yield `${name}/acme`;
    }
  }

  apply(changes: readonly CertificateChange[]): void {
    for (const { key, row } of changes) {
      const slash = key.lastIndexOf("/");
      const name = key.slice(0, slash);
      const source = key.slice(slash + 1) === "custom" ? "custom" : "acme";
      let entry = this.#names.get(name);
      if (entry === undefined) {
        if (row === null) continue;
        this.#names.set(name, entry = { name, custom: null, acme: null, unusable: new Set() });
      }
      const before = entry[source];
      if (before !== null) entry.unusable.delete(before);
      entry[source] = row;
      if (entry.custom === null && entry.acme === null) this.#names.delete(name);
      for (const versions of ["1.2-1.3", "1.2-1.2", "1.3-1.3"]) {
        this.#contexts.delete(`${name} ${versions}`);
        this.#making.delete(`${name} ${versions}`);
      }
    }
  }

  /**
   * The certificate of names that have none, and of clients that send none.
   * @throws where it cannot be used; the one before it then stays
   */
  setDefault(chain: string, key: string): void {
    checkPair(chain, key);
    makeContext(chain, key, "1.2-1.3");
    this.#default = { chain, key };
    this.#defaults.clear();
  }

  /** Whether a certificate of ours, not the default, answers for the name. */
  covers(name: string): boolean {
    return this.#entryOf(name) !== null;
  }

  /** @returns null for names without a certificate; at once where the context is ready */
  find(name: string, versions: Versions): SecureContext | Promise<SecureContext> | null {
    const entry = this.#entryOf(name);
    if (entry === null) return null;
    const key = `${entry.name} ${versions}`;
    const kept = this.#contexts.get(key);
    if (kept !== undefined && kept.untilMs > this.#options.wallMs()) {
      if (this.#contexts.size >= this.#contextsMax / 2) {
        // Only a store that fills up needs to know which were used last.
        this.#contexts.delete(key);
        this.#contexts.set(key, kept);
      }
      return kept.context;
    }
    const making = this.#making.get(key);
    if (making !== undefined) return making;
    const made = this.#make(entry, versions, key);
    this.#making.set(key, made);
    return made;
  }

  /**
   * The best certificate of each name in the clear, for a server that must have all of them before it starts (HTTP/3).
   * @returns the default first; at most CONTEXTS_MAX
   */
  async opened(): Promise<{ name: string | null; chain: string; key: string }[]> {
    const all: { name: string | null; chain: string; key: string }[] = [];
    if (this.#default !== null) all.push({ name: null, ...this.#default });
    const nowMs = this.#options.wallMs();
    for (const entry of this.#names.values()) {
      if (all.length >= CONTEXTS_MAX) break;
      for (const row of candidates(entry, nowMs)) {
        try {
          all.push({ name: entry.name, chain: row.chain, key: await openedKey(row, this.#options.openKey) });
          break;
        } catch {
          // Whoever handshakes with this name over TCP has it reported.
        }
      }
    }
    return all;
  }

  /** @throws where the edge has none */
  default(versions: Versions): SecureContext {
    let context = this.#defaults.get(versions);
    if (context === undefined) {
      if (this.#default === null) throw new Error("no default certificate");
      context = makeContext(this.#default.chain, this.#default.key, versions);
      this.#defaults.set(versions, context);
    }
    return context;
  }

  get #contextsMax(): number {
    return this.#options.contextsMax ?? CONTEXTS_MAX;
  }

  #entryOf(name: string): NameEntry | null {
    const exact = this.#names.get(name);
    if (exact !== undefined) return exact;
    const dot = name.indexOf(".");
    return dot === -1 ? null : this.#names.get(`*${name.slice(dot)}`) ?? null;
  }

  async #make(entry: NameEntry, versions: Versions, key: string): Promise<SecureContext> {
    const nowMs = this.#options.wallMs();
    for (const row of candidates(entry, nowMs)) {
      try {
        const context = await contextOf(row, versions, this.#options.openKey);
        const current = this.#names.get(entry.name)?.[row.source] === row;
        if (current) this.#keep(key, { context, untilMs: untilMs(row, entry, nowMs) });
        return context;
      } catch (error) {
        entry.unusable.add(row);
        this.unusable++;
        this.#options.onUnusable(`${row.name}/${row.source}`, messageOf(error));
      }
    }
    const context = this.default(versions);
    this.#making.delete(key);
    return context;
  }

  #keep(key: string, kept: KeptContext): void {
    this.#making.delete(key);
    this.#contexts.delete(key);
    this.#contexts.set(key, kept);
    for (const oldest of this.#contexts.keys()) {
      if (this.#contexts.size <= this.#contextsMax) break;
      this.#contexts.delete(oldest);
      this.evicted++;
    }
  }
}

/** Best first. One that has expired still names its site, which the default does not. */
function candidates(entry: NameEntry, nowMs: number): CertificateRow[] {
  const rows = [entry.custom, entry.acme].filter((row) => row !== null && !entry.unusable.has(row));
  const valid = (row: CertificateRow | null) => row!.not_after_ms > nowMs;
  return [...rows.filter(valid), ...rows.filter((row) => !valid(row))] as CertificateRow[];
}

function untilMs(row: CertificateRow, entry: NameEntry, nowMs: number): number {
  const alone = entry.custom === null || entry.acme === null;
  return alone || row.not_after_ms <= nowMs ? Infinity : row.not_after_ms;
}

async function contextOf(
  row: CertificateRow,
  versions: Versions,
  openKey: OpenSealedKey,
): Promise<SecureContext> {
  return makeContext(row.chain, await openedKey(row, openKey), versions);
}

/** @throws where the key cannot be opened, or the certificate is not what its row says */
async function openedKey(row: CertificateRow, openKey: OpenSealedKey): Promise<string> {
  const key = await openKey(row.sealed_key);
  const certificate = checkPair(row.chain, key);
  if (!names(certificate).some((name) => coversName(name, row.name))) {
    throw new Error("the certificate is for other names");
  }
  return key;
}

/** On Deno a context takes what it cannot use, and fails in the handshake. */
function checkPair(chain: string, key: string): X509Certificate {
  const certificate = new X509Certificate(chain);
  if (!certificate.checkPrivateKey(createPrivateKey(key))) {
    throw new Error("the key is not the certificate's");
  }
  return certificate;
}

/** By hand: `checkHost` knows no wildcards on Deno. */
function names({ subjectAltName }: X509Certificate): string[] {
  return (subjectAltName ?? "").split(", ").filter((entry) => entry.startsWith("DNS:"))
    .map((entry) => entry.slice("DNS:".length).toLowerCase());
}

/** RFC 9525 section 6.3: a wildcard is one label. */
function coversName(certified: string, wanted: string): boolean {
  return certified === wanted || certified === `*${wanted.slice(wanted.indexOf("."))}`;
}
