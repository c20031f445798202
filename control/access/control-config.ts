import { z } from "zod";
import { GodwitError, messageOf } from "../contract/errors.ts";
import { ControlConfig } from "../contract/process-config.ts";

/** @param path Of `--config`; refuses in words, and without a value of the file, which holds passwords. */
export async function readControlConfig(path: string | undefined): Promise<ControlConfig> {
  if (path === undefined) {
    throw new GodwitError("control.config_invalid", "Cannot start: --config PATH is missing", {
      fault: "client",
    });
  }
  try {
    return ControlConfig.parse(JSON.parse(await Bun.file(path).text()));
  } catch (error) {
    throw new GodwitError("control.config_invalid", `Cannot use the configuration ${path}: ${why(error)}`, {
      fault: "client",
      hint: "See ControlConfig in control/contract/process-config.ts.",
    });
  }
}

function why(error: unknown): string {
  if (error instanceof z.ZodError) {
    return error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`).join("; ");
  }
  // A JSON parser's message may quote the text.
  return error instanceof SyntaxError ? "it is not JSON" : messageOf(error);
}
