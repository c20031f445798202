/** Which program a machine runs: Entrypoint and Cmd by the rules that Docker made common (image-spec, config.md). */
import type { RunConfig } from "../../control/contract/run-config.ts";
import { BootError } from "../system/error.ts";

/** A machine's own entrypoint drops the image's Cmd, which was written for the image's entrypoint. */
export function argvOf({ image, entrypoint, command }: Pick<RunConfig, "image" | "entrypoint" | "command">) {
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
