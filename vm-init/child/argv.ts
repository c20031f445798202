/** Which program a machine runs: Entrypoint and Cmd by the rules that Docker made common (image-spec, config.md). */
import type { RunConfig, RunProcess } from "../../control/contract/run-config.ts";
import { BootError } from "../system/error.ts";

/** Of one of several processes: `exec` as it stands, else as below, each wish of its own before the machine's. */
export function argvOfProcess(
  config: Pick<RunConfig, "image" | "entrypoint" | "command">,
  process: Pick<RunProcess, "exec" | "entrypoint" | "command">,
): string[] {
  if (process.exec !== null) return process.exec;
  const isOwn = process.entrypoint !== null || process.command !== null;
  return argvOf({
    image: config.image,
    entrypoint: process.entrypoint ?? config.entrypoint,
    command: isOwn ? process.command : config.command,
  });
}

/** A machine's own entrypoint drops the image's Cmd, which was written for the image's entrypoint. */
export function argvOf(
  { image, entrypoint, command }: Pick<RunConfig, "image" | "entrypoint" | "command">,
): string[] {
  const cmd = command ?? (entrypoint === null ? image.cmd : []);
  const argv = [...(entrypoint ?? image.entrypoint), ...cmd];
  if (argv.length === 0 || argv[0] === "") {
    throw new BootError(
      `Cannot tell what to run: the image has no Entrypoint and no Cmd, and the machine no command (met ${
        JSON.stringify(argv)
      })`,
    );
  }
  return argv;
}
