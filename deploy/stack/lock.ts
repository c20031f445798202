/** One `up` or `down` at a time for a home: flock(2), which the kernel gives back whatever way a process ends. */
import { dlopen } from "bun:ffi";
import { closeSync, fstatSync, ftruncateSync, openSync, readFileSync, statSync, writeSync } from "node:fs";
import { constants, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { GodwitError } from "../../control/contract/errors.ts";

const LOCK_EX = 2;
const LOCK_NB = 4;
const POLL_MS = 50;
/** How long `down` waits for an `up` that it has asked to give up. */
export const LOCK_WAIT_MS = 60_000;

export interface Lock {
  release(): void;
}

export interface LockOptions {
  /** Ask who holds it to end, and wait for it; otherwise being late is an error at once. */
  readonly interrupt: boolean;
  readonly command: string;
}

/** Takes the lock or throws `stack.busy`. */
export async function takeLock(runFolder: string, options: LockOptions): Promise<Lock> {
  const file = join(runFolder, "lock");
  let fd = openLock(file);
  const libc = dlopen("libc.so.6", { flock: { args: ["i32", "i32"], returns: "i32" } });
  const deadline = Date.now() + (options.interrupt ? LOCK_WAIT_MS : 0);
  let asked = false;
  while (true) {
    const taken = libc.symbols.flock(fd, LOCK_EX | LOCK_NB) === 0;
    if (taken && isThe(file, fd)) break;
    if (taken) {
      // Who had it was a `down`, which removes the run folder: the next one may already hold a new file.
      closeSync(fd);
      fd = openLock(file);
      continue;
    }
    const [pid, command] = holderOf(file);
    if (options.interrupt && !asked && Number(pid) > 1 && command === "up") {
      asked = true;
      process.kill(Number(pid), "SIGTERM");
    }
    if (Date.now() >= deadline) {
      closeSync(fd);
      throw new GodwitError(
        "stack.busy",
        `\`${command ?? "up"}\` of this home is at work (pid ${pid ?? "unknown"})`,
        {
          fault: "client",
          retryable: true,
          hint: "wait for it, or end it with ctrl-c",
        },
      );
    }
    await Bun.sleep(POLL_MS);
  }
  ftruncateSync(fd, 0);
  writeSync(fd, `${process.pid} ${options.command}\n`, 0);
  return { release: () => closeSync(fd) };
}

function openLock(file: string): number {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  return openSync(file, constants.O_RDWR | constants.O_CREAT, 0o600);
}

/** Whether the open file is the one that has the name now. */
function isThe(file: string, fd: number): boolean {
  return statSync(file, { throwIfNoEntry: false })?.ino === fstatSync(fd).ino;
}

function holderOf(file: string): string[] {
  try {
    return readFileSync(file, "utf8").trim().split(" ");
  } catch {
    return []; // removed by a `down` that is about to end
  }
}
