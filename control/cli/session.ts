/** One run of a command: its options, the API behind it, and the two ways it speaks: to people, or in JSON. */
import type { ApiClient } from "./api-client.ts";
import {
  appOf,
  type CliDefaults,
  connectionOf,
  edgeOf,
  type Environment,
  type GlobalFlags,
  readDefaults,
  replicaSocketOf,
} from "./context.ts";
import { GodwitError } from "../contract/errors.ts";

export class Session {
  readonly flags: GlobalFlags;
  readonly #env: Environment;
  #defaults: CliDefaults | null = null;

  constructor(flags: GlobalFlags, env: Environment = process.env) {
    this.flags = flags;
    this.#env = env;
  }

  get app(): string {
    return appOf(this.flags, this.#env);
  }

  get defaults(): CliDefaults {
    return this.#defaults ??= readDefaults(this.#env);
  }

  /** Loaded late: `--help` needs no schemas. */
  async api(): Promise<ApiClient> {
    const { ApiClient } = await import("./api-client.ts");
    return new ApiClient(connectionOf(this.flags, this.#env, this.defaults));
  }

  /** An edge's admin listener. */
  edge(flag: string | undefined): string {
    return edgeOf(flag, this.#env, this.defaults);
  }

  /** The socket of a replica on this machine. */
  replicaSocket(flag: string | undefined): string {
    return replicaSocketOf(flag, this.#env, this.defaults);
  }

  /** The command's result: one JSON document, or text for people. */
  result(value: unknown, text: string): void {
    process.stdout.write(this.flags.json ? `${JSON.stringify(value)}\n` : `${text}\n`);
  }

  /** What goes on meanwhile; never on stdout when that is for JSON. */
  progress(text: string): void {
    (this.flags.json ? process.stderr : process.stdout).write(`${text}\n`);
  }

  /** Asks before something is lost; without a terminal a yes has to be given beforehand. */
  async confirm(question: string): Promise<void> {
    if (this.flags.yes) return;
    if (this.flags.json || !process.stdin.isTTY || !process.stdout.isTTY) {
      throw new GodwitError("cli.not_confirmed", `${question} Not without a yes`, {
        fault: "client",
        hint: "add --yes",
      });
    }
    const { confirm } = await import("@clack/prompts");
    if (await confirm({ message: question, initialValue: false }) === true) return;
    throw new GodwitError("cli.not_confirmed", "Nothing was changed", { fault: "client" });
  }
}
