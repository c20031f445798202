/** Processes that chaos kills and pauses: each is brought back as it was, and remembers nothing but what it had written. */
import type { Subprocess } from "bun";

export interface Victim {
  readonly name: string;
  kill(): Promise<void>;
  pause(): void;
  goOn(): void;
  start(): Promise<void>;
  /** For good. */
  stop(): Promise<void>;
}

/** @param spawn starts it anew; its output is the caller's business */
export function childVictim(name: string, spawn: () => Subprocess): Victim {
  let child: Subprocess | null = null;
  const kill = async () => {
    child?.kill("SIGKILL");
    await child?.exited;
    child = null;
  };
  return {
    name,
    kill,
    pause: () => child?.kill("SIGSTOP"),
    goOn: () => child?.kill("SIGCONT"),
    start: () => {
      child = spawn();
      return Promise.resolve();
    },
    stop: kill,
  };
}
