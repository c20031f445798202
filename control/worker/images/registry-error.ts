/**
 * What skopeo 1.9's words mean. It has one exit status for all failures, so its stderr is read; words that no rule knows
 * become `image.registry_failed` with the words themselves. registry-source.test.ts meets each of them for real.
 */
import { GodwitError } from "../../contract/errors.ts";
import type { ToolResult } from "./run-tool.ts";

interface Rule {
  readonly pattern: RegExp;
  readonly code: string;
  readonly what: string;
  readonly fault: "client" | "us";
  readonly retryable: boolean;
  readonly hint: string;
}

const rules: readonly Rule[] = [
  {
    pattern: /no space left on device|disk quota exceeded/i,
    code: "image.disk_full",
    what: "the disk is full",
    fault: "us",
    retryable: true,
    hint: "free space on this disk, or lower cache_mb_max so that old images go",
  },
  {
    pattern:
      /manifest does not match provided manifest digest|Digest did not match|unexpected end of file|unexpected EOF/i,
    code: "image.digest_mismatch",
    what: "what the registry sent does not have the digest asked for",
    fault: "us",
    retryable: true,
    hint: "the registry's copy is damaged, or was on its way; push the image again",
  },
  {
    pattern:
      /unauthorized|authentication required|invalid username\/password|denied|status code 40[13]|\b40[13] /i,
    code: "image.unauthorized",
    what: "the registry wants other credentials",
    fault: "client",
    retryable: false,
    hint: "put this registry's credentials into the worker's images.auth_file (containers-auth.json)",
  },
  {
    pattern:
      /manifest unknown|name unknown|repository .*not found|not found|status code 404|invalid repository/i,
    code: "image.not_found",
    what: "the registry does not have it",
    fault: "client",
    retryable: false,
    hint: "check name and tag; `skopeo list-tags` shows what the registry has",
  },
  {
    pattern: /server gave HTTP response to HTTPS client|x509:|tls: /i,
    code: "image.registry_insecure",
    what: "the registry does not speak the TLS that is asked of it",
    fault: "us",
    retryable: false,
    hint:
      "give the registry a certificate, or name it in the worker's images.insecure_registries (loopback only)",
  },
  {
    pattern:
      /connection refused|no such host|network is unreachable|no route to host|connection reset|i\/o timeout|pinging container registry|server misbehaving|status code 5\d\d|\bEOF\b/i,
    code: "image.registry_unreachable",
    what: "the registry cannot be reached",
    fault: "us",
    retryable: true,
    hint: "check that the registry runs and that this worker can connect to it",
  },
];

export function registryError(ref: string, result: ToolResult, limitMs: number): GodwitError {
  if (result.killed === "timeout" || result.killed === "stalled") {
    return new GodwitError(
      "image.registry_timeout",
      `Cannot pull image ${ref}: the registry ${
        result.killed === "stalled" ? "stopped sending" : `took longer than ${Math.round(limitMs / 1_000)} s`
      }`,
      { fault: "us", retryable: true, hint: "check the registry's load and the way to it, then try again" },
    );
  }
  const words = wordsOf(result.stderr);
  if (result.killed === "output") {
    return new GodwitError("image.bad_manifest", `Cannot pull image ${ref}: its manifest is too long`, {
      fault: "client",
    });
  }
  const rule = rules.find((r) => r.pattern.test(words));
  if (rule === undefined) {
    return new GodwitError("image.registry_failed", `Cannot pull image ${ref}: ${words}`, {
      fault: "us",
      retryable: true,
    });
  }
  return new GodwitError(rule.code, `Cannot pull image ${ref}: ${rule.what} (${words})`, {
    fault: rule.fault,
    retryable: rule.retryable,
    hint: rule.hint,
  });
}

/** The message inside skopeo's last log line. */
function wordsOf(stderr: string): string {
  const last = stderr.split("\n").findLast((line) => line.includes("level=fatal")) ?? stderr;
  const quoted = /msg="((?:[^"\\]|\\.)*)"/.exec(last)?.[1];
  return (quoted?.replaceAll('\\"', '"') ?? last).slice(-600);
}
