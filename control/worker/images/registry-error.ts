/**
 * What skopeo 1.9's words mean. It has one exit status for all failures, so its stderr is read; words that no rule knows
 * become `image.registry_failed` with the words themselves. registry-source.test.ts meets each of them for real.
 */
import { GodwitError } from "../../contract/errors.ts";
import type { ToolResult } from "./run-tool.ts";

interface Rule {
  readonly pattern: RegExp;
  readonly what: string;
  readonly make: (message: string) => GodwitError;
}

const rules: readonly Rule[] = [
  {
    pattern: /no space left on device|disk quota exceeded/i,
    what: "the disk is full",
    make: (message) =>
      new GodwitError("image.disk_full", message, {
        fault: "us",
        retryable: true,
        hint: "free space on this disk, or lower cache_mb_max so that old images go",
      }),
  },
  {
    pattern:
      /manifest does not match provided manifest digest|Digest did not match|unexpected end of file|unexpected EOF/i,
    what: "what the registry sent does not have the digest asked for",
    make: (message) =>
      new GodwitError("image.digest_mismatch", message, {
        fault: "us",
        retryable: true,
        hint: "the registry's copy is damaged, or was on its way; push the image again",
      }),
  },
  {
    pattern:
      /unauthorized|authentication required|invalid username\/password|access .*denied|status code 40[13]\b/i,
    what: "the registry wants other credentials",
    make: (message) =>
      new GodwitError("image.unauthorized", message, {
        fault: "client",
        hint: "put this registry's credentials into the worker's images.auth_file (containers-auth.json)",
      }),
  },
  {
    pattern: /manifest unknown|name unknown|not found|status code 404\b|invalid repository/i,
    what: "the registry does not have it",
    make: (message) =>
      new GodwitError("image.not_found", message, {
        fault: "client",
        hint: "check name and tag; `skopeo list-tags` shows what the registry has",
      }),
  },
  {
    pattern: /server gave HTTP response to HTTPS client|x509:|tls: /i,
    what: "the registry does not speak the TLS that is asked of it",
    make: (message) =>
      new GodwitError("image.registry_insecure", message, {
        fault: "us",
        hint: "give it a certificate, or name it in the worker's images.insecure_registries (loopback only)",
      }),
  },
  {
    pattern:
      /connection refused|no such host|network is unreachable|no route to host|connection reset|i\/o timeout|pinging container registry|server misbehaving|status code 5\d\d\b|\bEOF\b/i,
    what: "the registry cannot be reached",
    make: (message) =>
      new GodwitError("image.registry_unreachable", message, {
        fault: "us",
        retryable: true,
        hint: "check that the registry runs and that this worker can connect to it",
      }),
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
  return rule.make(`Cannot pull image ${ref}: ${rule.what} (${words})`);
}

/** The message inside skopeo's last log line. */
function wordsOf(stderr: string): string {
  const last = stderr.split("\n").findLast((line) => line.includes("level=fatal")) ?? stderr;
  const quoted = /msg="((?:[^"\\]|\\.)*)"/.exec(last)?.[1];
  return (quoted?.replaceAll('\\"', '"') ?? last).slice(-600);
}
