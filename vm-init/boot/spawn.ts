/** Step spawn: what to run, as whom, with what, where; then runs it. */
import { mkdirSync, statSync } from "node:fs";
import { resolve } from "node:path";
import type { RunConfig } from "../../control/contract/run-config.ts";
import type { LogRing } from "../api/log-ring.ts";
import { argvOf } from "../child/argv.ts";
import { type Child, startChild } from "../child/child.ts";
import { envOf } from "../child/env.ts";
import { findExecutable } from "../child/executable.ts";
import type { User } from "../child/user.ts";
import { BootError, messageOf } from "../system/error.ts";
import type { Placed } from "./limits.ts";

export function spawnApp(config: RunConfig, user: User, log: LogRing, placed: Placed): Child {
  const argv = argvOf(config);
  const env = envOf(config.image.env, config.env, user.home);
  const workingFolder = makeWorkingFolder(config.image.working_dir);
  const file = findExecutable(argv[0]!, env.PATH!, workingFolder);
  return startChild({ file, argv, env, workingFolder, user }, log, placed);
}

/** As Docker does, a working folder that the image lacks is made, root's own. */
function makeWorkingFolder(named: string): string {
  const folder = resolve("/", named);
  try {
    mkdirSync(folder, { recursive: true });
    if (statSync(folder).isDirectory()) return folder;
  } catch (error) {
    throw new BootError(`Cannot make the working folder ${folder}: ${messageOf(error)}`);
  }
  throw new BootError(`Cannot use the working folder ${folder}: it is not a folder`);
}
