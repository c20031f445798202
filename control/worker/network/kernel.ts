/**
 * How this folder reaches the kernel: ip(8), tc(8), nft(8) and /proc/sys, on the host or in a named network namespace.
 * Arguments go as arrays and rules through stdin; there is no shell in between.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { GodwitError } from "../../contract/errors.ts";
import { type IpFailure, parseIpFailures } from "./ip-batch.ts";

/** Far beyond what any of these takes; a command that hangs must not hang the agent. */
const commandMsMax = 20_000;

interface Outcome {
  readonly status: number;
  readonly output: string;
  readonly complaint: string;
}

/** A command of ours that said no. */
export class CommandError extends GodwitError {
  readonly complaint: string;

  constructor(argv: readonly string[], complaint: string) {
    super(
      "network.command_failed",
      `Cannot change this host's network: ${argv.join(" ")}: ${complaint.trim()}`,
      {
        fault: "us",
        retryable: true,
        hint: "the worker needs root (CAP_NET_ADMIN), iproute2 and nftables",
      },
    );
    this.complaint = complaint;
  }
}

export class Kernel {
  readonly #netns: string | undefined;

  constructor(netns?: string) {
    this.#netns = netns;
  }

  /** Runs the lines as one batch, all of them, and answers which failed. */
  ipBatch(lines: readonly string[]): Promise<IpFailure[]> {
    return this.#batch("ip", lines);
  }

  /** As `ipBatch`, of tc(8). */
  tcBatch(lines: readonly string[]): Promise<IpFailure[]> {
    return this.#batch("tc", lines);
  }

  async #batch(program: "ip" | "tc", lines: readonly string[]): Promise<IpFailure[]> {
    if (lines.length === 0) return [];
    const argv = [program, "-force", "-batch", "-"];
    const { status, complaint } = await this.#run(argv, `${lines.join("\n")}\n`);
    const failures = parseIpFailures(complaint);
    if (status !== 0 && failures.length === 0) throw new CommandError(argv, complaint);
    return failures;
  }

  async ipJson(...args: string[]): Promise<unknown[]> {
    return JSON.parse(await this.#strict(["ip", "-j", ...args]) || "[]");
  }

  /** All of the text or nothing of it. */
  async nft(text: string): Promise<void> {
    await this.#strict(["nft", "-f", "-"], text);
  }

  /** The objects under `nftables`, or null where what was asked for does not exist. */
  async nftJson(...args: string[]): Promise<Record<string, unknown>[] | null> {
    const argv = ["nft", "-j", ...args];
    const { status, output, complaint } = await this.#run(argv);
    if (status !== 0 && complaint.includes("No such file or directory")) return null;
    if (status !== 0) throw new CommandError(argv, complaint);
    return JSON.parse(output).nftables;
  }

  /** The value of `net/…`, or null where the kernel has no such setting (or no such interface). */
  async readSysctl(name: string): Promise<string | null> {
    if (this.#netns !== undefined) {
      const { status, output } = await this.#run(["cat", `/proc/sys/${name}`]);
      return status === 0 ? output.trim() : null;
    }
    // Not Bun.file: a file of /proc has size 0, and Bun reads no further.
    const path = `/proc/sys/${name}`;
    return existsSync(path) ? readFileSync(path, "utf8").trim() : null;
  }

  /** In the order given. */
  async writeSysctls(settings: readonly (readonly [name: string, value: string])[]): Promise<void> {
    if (settings.length === 0) return;
    if (this.#netns !== undefined) {
      await this.#strict(["sysctl", "-q", "-w", ...settings.map(([name, value]) => `${name}=${value}`)]);
      return;
    }
    for (const [name, value] of settings) {
      try {
        writeFileSync(`/proc/sys/${name}`, value);
      } catch (cause) {
        throw new CommandError([`/proc/sys/${name}=${value}`], String(cause));
      }
    }
  }

  /** Interfaces that have IPv6 settings, with `all` and `default`. */
  async ipv6Interfaces(): Promise<string[]> {
    const folder = "/proc/sys/net/ipv6/conf";
    if (this.#netns === undefined) return readdirSync(folder);
    return (await this.#strict(["ls", folder])).split("\n").filter((name) => name !== "");
  }

  async #strict(argv: string[], input = ""): Promise<string> {
    const { status, output, complaint } = await this.#run(argv, input);
    if (status !== 0) throw new CommandError(argv, complaint);
    return output;
  }

  async #run(argv: string[], input = ""): Promise<Outcome> {
    const where = this.#netns === undefined ? [] : ["ip", "netns", "exec", this.#netns];
    let child;
    try {
      child = Bun.spawn([...where, ...argv], {
        stdin: Buffer.from(input),
        stdout: "pipe",
        stderr: "pipe",
        timeout: commandMsMax,
        killSignal: "SIGKILL",
        env: { PATH: process.env.PATH ?? "/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C.UTF-8" },
      });
    } catch (cause) {
      throw new CommandError(argv, String(cause));
    }
    const [output, complaint, status] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    return { status, output, complaint };
  }
}
