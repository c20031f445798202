/** The commands that a worker runs beside the app: as whom, with what, and how many at once. */
import { readFileSync, statSync } from "node:fs";
import type { ExecRequest } from "../../control/contract/guest-api.ts";
import { EXECS_MAX } from "../../control/contract/guest-limits.ts";
import type { RunConfig } from "../../control/contract/run-config.ts";
import { envOf } from "../child/env.ts";
import { findExecutable } from "../child/executable.ts";
import type { CommandPlace } from "../child/session.ts";
import { resolveUser, type User } from "../child/user.ts";
import { BootError, messageOf } from "../system/error.ts";
import { Refusal } from "./answer.ts";

const SHELLS = ["/bin/bash", "/bin/sh"];
const TERM_DEFAULT = "xterm-256color";

/** What commands take over from the app. */
export interface ExecGround {
  readonly config: Pick<RunConfig, "image" | "env">;
  readonly command: () => CommandPlace;
}

export interface Plan {
  readonly file: string;
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly workingFolder: string;
  readonly user: User;
}

export class Execs {
  #ground: ExecGround | null = null;
  #running = 0;

  /** The app's root, user and limits stand from now on. */
  open(ground: ExecGround): void {
    this.#ground = ground;
  }

  /** The app has ended, and the machine ends with it. */
  close(): void {
    this.#ground = null;
  }

  get count(): number {
    return this.#running;
  }

  /** @throws Refusal before the app runs, and once it has ended */
  get ground(): ExecGround {
    if (this.#ground !== null) return this.#ground;
    throw new Refusal("guest.not_running", "Cannot do this in the machine: its app does not run", {
      status: 409,
    });
  }

  /** Takes one of EXECS_MAX places; to be given back by `leave`. @throws Refusal */
  enter(): ExecGround {
    const { ground } = this;
    if (this.#running >= EXECS_MAX) {
      throw new Refusal(
        "guest.too_many_execs",
        `Cannot run a command: ${EXECS_MAX} run in the machine already`,
        {
          status: 429,
          hint: "wait for one of them, or end it",
        },
      );
    }
    this.#running++;
    return ground;
  }

  leave(): void {
    this.#running--;
  }
}

/** The app's own user. */
export function ownerOf({ config: { image } }: ExecGround): User {
  return resolveUser(image.user, readOr("/etc/passwd"), readOr("/etc/group"));
}

/** @throws Refusal where the machine has no such user, folder or program */
export function planOf(request: ExecRequest, { image, env }: ExecGround["config"]): Plan {
  try {
    const user = resolveUser(request.user ?? image.user, readOr("/etc/passwd"), readOr("/etc/group"));
    const workingFolder = request.cwd ?? (image.working_dir === "" ? "/" : image.working_dir);
    const variables = envOf(image.env, env, user.home);
    if (request.user !== null) variables.HOME = user.home;
    if (request.terminal !== null) variables.TERM ??= TERM_DEFAULT;
    Object.assign(variables, request.env);
    const argv = request.argv ?? (request.shell === null ? [shellOf()] : ["/bin/sh", "-c", request.shell]);
    const file = findExecutable(argv[0]!, variables.PATH!, workingFolder);
    if (!statSync(workingFolder).isDirectory()) throw new BootError(`${workingFolder} is not a folder`);
    return { file, argv, env: variables, workingFolder, user };
  } catch (error) {
    throw new Refusal("guest.exec_failed", messageOf(error));
  }
}

function shellOf(): string {
  return SHELLS.find((shell) => statSync(shell, { throwIfNoEntry: false }) !== undefined) ?? SHELLS.at(-1)!;
}

function readOr(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return ""; // An image FROM scratch has neither; numbers work without.
  }
}
