/** Reads the fleet's membership keys. Whoever has one can make hosts look dead, so nobody else may read the files. */
import { readFileSync, statSync } from "node:fs";
import { GodwitError, messageOf } from "../contract/errors.ts";
import { SECRET_CHARACTERS_MIN } from "./seal.ts";

/** @throws GodwitError `membership.secret_unusable` */
export function readSecrets(files: readonly string[]): string[] {
  return files.map((file) => {
    let secret: string, mode: number;
    try {
      secret = readFileSync(file, "utf8").trim();
      mode = statSync(file).mode;
    } catch (error) {
      throw unusable(file, messageOf(error), error);
    }
    if ((mode & 0o077) !== 0) throw unusable(file, "others may read it");
    if (secret.length < SECRET_CHARACTERS_MIN) throw unusable(file, "it is too short");
    return secret;
  });
}

function unusable(file: string, why: string, cause?: unknown): GodwitError {
  return new GodwitError(
    "membership.secret_unusable",
    `Cannot use the membership secret in ${file}: ${why}`,
    {
      fault: "us",
      hint:
        `It is ${SECRET_CHARACTERS_MIN} or more random characters, the same on every host, in a file of mode 0600.`,
      cause,
    },
  );
}
