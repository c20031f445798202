/** Step spawn: what to run, as whom, with what, where; then runs it, all of it. */
import { mkdirSync, statSync } from "node:fs";
import { resolve } from "node:path";
import type { RunConfig } from "../../control/contract/run-config.ts";
import type { LogRing } from "../api/log-ring.ts";
import { argvOf, argvOfProcess } from "../child/argv.ts";
import { type Child, startChild } from "../child/child.ts";
import { envOf } from "../child/env.ts";
import { findExecutable } from "../child/executable.ts";
import type { User } from "../child/user.ts";
import { BootError, messageOf } from "../system/error.ts";
import type { Placed } from "./limits.ts";

/** One child for each of the configuration's processes, or the one that its entrypoint and command name. */
export function spawnApp(config: RunConfig, users: readonly User[], log: LogRing, placed: Placed): Child[] {
  const processes = config.processes ?? [];
  if (processes.length === 0) {
    return [spawnProgram(config, argvOf(config), config.env, users[0]!, log, placed)];
  }
  return processes.map((process, index) =>
    spawnProgram(
      config,
      argvOfProcess(config, process),
      { ...config.env, ...process.env },
      users[index]!,
      log,
      placed,
    )
  );
}

/** Any program beside them, in the same surroundings. */
export function spawnProgram(
  config: RunConfig,
  argv: readonly string[],
  machineEnv: Readonly<Record<string, string>>,
  user: User,
  log: LogRing,
  placed: Placed,
): Child {
  const env = envOf(config.image.env, machineEnv, user.home);
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
