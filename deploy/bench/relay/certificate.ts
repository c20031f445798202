/** One self-signed ECDSA certificate that all proxies show; P-256, as certificates are today. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { GodwitError } from "../../../control/contract/errors.ts";

export interface Certificate {
  readonly certificateFile: string;
  readonly keyFile: string;
  /** Both in one file, as HAProxy wants it. */
  readonly bothFile: string;
}

export function makeCertificate(folder: string): Certificate {
  const certificateFile = join(folder, "certificate.pem");
  const keyFile = join(folder, "key.pem");
  const made = Bun.spawnSync([
    ..."openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2".split(" "),
    ...["-subj", "/CN=*.bench.example", "-addext", "subjectAltName=DNS:*.bench.example,IP:127.0.0.1"],
    ...["-keyout", keyFile, "-out", certificateFile],
  ], { stderr: "pipe" });
  if (made.exitCode !== 0) {
    throw new GodwitError("bench.no_certificate", `openssl made no certificate: ${made.stderr}`, {
      fault: "us",
    });
  }
  const bothFile = join(folder, "both.pem");
  writeFileSync(bothFile, readFileSync(certificateFile, "utf8") + readFileSync(keyFile, "utf8"), {
    mode: 0o600,
  });
  return { certificateFile, keyFile, bothFile };
}
