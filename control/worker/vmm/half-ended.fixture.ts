/** A process that has begun to end, and stays so until it is killed. */
import { readFileSync } from "node:fs";

const SYS_EXIT: Readonly<Record<string, number>> = { x64: 60, arm64: 93 };
const POLL_MS = 5;

/** Its first thread has ended, so that it shows no arguments; another one still reads stdin, and holds all files. */
export async function halfEnded() {
  // exit(2) without its library ends the first thread alone.
  const script = `import { dlopen } from "bun:ffi";
    import { readFile } from "node:fs";
    readFile("/dev/stdin", () => {});
    await Bun.file("/proc/self/stat").text();
    const args = ["i64", "i64"];
    dlopen("libc.so.6", { syscall: { args, returns: "i64" } }).symbols.syscall(${
    SYS_EXIT[process.arch]
  }n, 0n);`;
  const child = Bun.spawn([process.execPath, "-e", script], { stdin: "pipe" });
  const state = () => /\) (\S)/.exec(readFileSync(`/proc/${child.pid}/stat`, "utf8"))?.[1];
  while (state() !== "Z") await Bun.sleep(POLL_MS);
  return child;
}
