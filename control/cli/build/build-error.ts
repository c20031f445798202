/** What buildah's words mean. Its exit status does not tell its own failures from those of a step. */
import { GodwitError } from "../../contract/errors.ts";
import type { BuildToolResult } from "./run-build-tool.ts";

const LINES_SHOWN = 10;

const syntaxPattern =
  /Unknown instruction|no FROM statement|parse error|Dockerfile parse|no contents in|unknown flag|requires (?:exactly|at least)|must be|syntax error|file with no instructions/i;
const basePattern =
  /initializing source docker:|creating build container: .*(?:reading manifest|pinging|registry|short-name)/;
const diskPattern = /no space left on device|disk quota exceeded/i;

export function buildError(dockerfile: string, result: BuildToolResult): GodwitError {
  const words = result.lastLines.filter((line) => !line.includes("UNHANDLED LOGLEVEL"));
  const said = (words.findLast((line) => /^Error: /.test(line)) ?? words.at(-1) ?? "buildah was killed")
    .replace(/^Error: /, "").replace(/ &imagebuilder\.Step\{.*$/, "");
  if (words.some((line) => diskPattern.test(line))) return diskFull(`build ${dockerfile}`);
  if (basePattern.test(said)) {
    return new GodwitError(
      "build.base_unavailable",
      `Cannot build ${dockerfile}: its base image cannot be fetched: ${said}`,
      {
        fault: "client",
        retryable: true,
        hint: "check the FROM line and that its registry can be reached from here",
      },
    );
  }
  if (syntaxPattern.test(said)) {
    return new GodwitError("build.syntax", `Cannot read ${dockerfile}: ${said}`, {
      fault: "client",
      hint: "correct this line of the Dockerfile",
    });
  }
  const last = words.filter((line) => line !== `Error: ${said}`).slice(-LINES_SHOWN).join("\n");
  return new GodwitError("build.step_failed", `Cannot build ${dockerfile}: ${said}\n${last}`.trim(), {
    fault: "client",
    hint: "the last lines of the step stand above",
  });
}

export function pushError(ref: string, result: BuildToolResult): GodwitError {
  if (result.lastLines.some((line) => diskPattern.test(line))) return diskFull(`push ${ref}`);
  const line = result.lastLines.findLast((l) => /^Error: |level=fatal/.test(l)) ?? result.lastLines.at(-1) ??
    "killed";
  const said = (/msg="((?:[^"\\]|\\.)*)"/.exec(line)?.[1]?.replaceAll('\\"', '"') ?? line).replace(
    /^Error: /,
    "",
  );
  if (/unauthorized|authentication required|denied|status code 40[13]\b/i.test(said)) {
    return new GodwitError("build.push_unauthorized", `Cannot push ${ref}: ${said}`, {
      fault: "client",
      hint: "log in to this registry again",
    });
  }
  return new GodwitError("build.push_failed", `Cannot push ${ref}: ${said}`, {
    fault: "us",
    retryable: true,
    hint: "check that the registry runs and has free disk",
  });
}

function diskFull(what: string): GodwitError {
  return new GodwitError("build.disk_full", `Cannot ${what}: the disk is full`, {
    fault: "us",
    retryable: true,
    hint: "free space where Godwit's home lies; a build needs about three times the size of the image",
  });
}
