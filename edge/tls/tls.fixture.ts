/** For tests: certificates as control publishes them, and an app that is reached over TLS. */
import { connect, type ConnectionOptions, type TLSSocket } from "node:tls";
import type { ServicePort } from "../../control/contract/machine.ts";
import { type CertificateRow, keyOf } from "../../control/contract/rows.ts";
import { newSealingKey, sealPrivateKey } from "../../control/contract/sealing.ts";
import { writeFileSync } from "node:fs";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestEdge, until } from "../edge.fixture.ts";
import { makeCertificate } from "./make-certificate.ts";

const DAY_MS = 86_400_000;

export async function newSealing() {
  const folder = mkdtempSync(join(tmpdir(), "godwit-sealing-"));
  const { seal, open } = await newSealingKey("test");
  const file = join(folder, "sealing.json");
  writeFileSync(file, JSON.stringify(open), { mode: 0o600 });
  return { folder, file, seal };
}
export type Sealing = Awaited<ReturnType<typeof newSealing>>;

let serial = 0;

/** A certificate of its own kind each time: `O`-less, told apart by its expiry. */
export async function certificateRow(
  name: string,
  { seal }: Sealing,
  fields: Partial<CertificateRow> = {},
): Promise<CertificateRow> {
  const nowMs = Math.floor(Date.now() / 1_000) * 1_000;
  const notAfterMs = nowMs + 30 * DAY_MS + ++serial * 1_000;
  const { chain, key } = makeCertificate({ names: [name], notBeforeMs: nowMs - DAY_MS, notAfterMs });
  return {
    name: name as CertificateRow["name"],
    source: "acme",
    chain,
    sealed_key: await sealPrivateKey(key, seal),
    not_after_ms: notAfterMs,
    ...fields,
  };
}

export async function publishCertificate(
  t: TestEdge,
  name: string,
  sealing: Sealing,
  fields: Partial<CertificateRow> = {},
): Promise<CertificateRow> {
  const row = await certificateRow(name, sealing, fields);
  const key = keyOf("certificates", row);
  await t.publish("certificates", key, row);
  await t.settled();
  return row;
}

/** An app at ports 80 and 443. */
export async function secureApp(
  t: TestEdge,
  name: string,
  port: number,
  options: Partial<ServicePort> = {},
): Promise<void> {
  await t.app(name, port, {
    services: [{
      protocol: "tcp",
      internal_port: port,
      ports: [
        { port: 80, handlers: ["http"], force_https: false },
        { port: 443, handlers: ["tls", "http"], force_https: false, ...options },
      ],
      concurrency: { type: "requests", soft_limit: 20, hard_limit: null },
    }],
  });
}

/** A client that has shaken hands. */
export function secureClient(port: number, options: ConnectionOptions = {}): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", rejectUnauthorized: false, ...options });
    socket.once("error", reject);
    socket.once("secureConnect", () => {
      socket.off("error", reject);
      socket.on("error", () => {});
      resolve(socket);
    });
  });
}

/** What the peer's certificate says of itself. */
export function shown(socket: TLSSocket): { name: string; notAfterMs: number } {
  const { subject, valid_to } = socket.getPeerCertificate();
  return { name: String(subject?.CN), notAfterMs: Date.parse(valid_to) };
}

/** One request on a connection that stays. */
export async function ask(socket: TLSSocket, host: string, path = "/"): Promise<string> {
  let text = "";
  const collect = (bytes: Buffer) => text += bytes.toString("latin1");
  socket.on("data", collect);
  socket.write(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
  await until(() => {
    const end = text.indexOf("\r\n\r\n");
    const length = /content-length: (\d+)/i.exec(text)?.[1];
    return (end !== -1 && length !== undefined && text.length >= end + 4 + Number(length)) ||
      socket.destroyed;
  });
  socket.off("data", collect);
  return text;
}
