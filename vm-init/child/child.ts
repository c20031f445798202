/** The user's process: started as its user in a session of its own, its output read to the end, its end awaited. */
import { closeSync, fchownSync } from "node:fs";
import type { LogRing, LogStream } from "../api/log-ring.ts";
import { LineSplitter } from "../api/lines.ts";
import { BootError, codeOf, messageOf } from "../system/error.ts";
import { openPipe, withIdentity } from "../system/process.ts";
import type { Ended } from "./exit.ts";
import { keepOwn } from "./reap.ts";
import type { User } from "./user.ts";

export interface Program {
  /** Absolute path of the file to execute. */
  readonly file: string;
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly workingFolder: string;
  readonly user: User;
}

export interface Child {
  readonly pid: number;
  /** Of the program, for people. */
  readonly name: string;
  readonly ended: Promise<Ended>;
  /** Both outputs have been read to their end: no process holds them any more. */
  readonly drained: Promise<void>;
}

/** `placed` runs the start inside the app's cgroup, where there is one. */
export function startChild(program: Program, log: LogRing, placed: <T>(work: () => T) => T): Child {
  const stdout = openOutput(program.user);
  const stderr = openOutput(program.user);
  const spawned = spawn(program, stdout.writeEnd, stderr.writeEnd, placed);
  keepOwn(spawned);
  const ended = spawned.exited.then(() => ({
    exitCode: spawned.signalCode === null ? spawned.exitCode : null,
    signal: spawned.signalCode,
  }));
  const drained = Promise.all([
    readLines(stdout.readEnd, "stdout", log),
    readLines(stderr.readEnd, "stderr", log),
  ]).then(() => {});
  return { pid: spawned.pid, name: program.argv[0]!, ended, drained };
}

/** A program may open /dev/stdout by its path: the pipe must belong to its user. */
function openOutput({ uid, gid }: User) {
  const pipe = openPipe();
  fchownSync(pipe.writeEnd, uid, gid);
  return pipe;
}

function spawn(program: Program, stdout: number, stderr: number, placed: <T>(work: () => T) => T) {
  const { file, argv, env, workingFolder, user } = program;
  try {
    return placed(() =>
      withIdentity(user, () =>
        Bun.spawn([file, ...argv.slice(1)], {
          argv0: argv[0]!,
          cwd: workingFolder,
          env: { ...env },
          stdin: "ignore",
          stdout,
          stderr,
          detached: true,
        }))
    );
  } catch (error) {
    throw new BootError(
      `Cannot run "${argv[0]}" (${file}, user ${user.uid}:${user.gid}, in ${workingFolder}): ${
        reasonOf(error)
      }`,
    );
  } finally {
    closeSync(stdout);
    closeSync(stderr);
  }
}

function reasonOf(error: unknown): string {
  const code = codeOf(error);
  if (code === "ENOEXEC") {
    return "exec format error: it is built for another architecture, or lacks a #! line";
  }
  if (code === "ENOENT") return "the interpreter or dynamic loader that it names is not in the image";
  if (code === "EACCES") {
    return "permission denied: its user may not execute it, or not enter the working folder";
  }
  return messageOf(error);
}

async function readLines(fd: number, stream: LogStream, log: LogRing): Promise<void> {
  const splitter = new LineSplitter((line) => log.add(stream, line));
  for await (const chunk of Bun.file(fd).stream()) splitter.push(chunk);
  splitter.end();
}
