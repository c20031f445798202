/** The fake's side of guest-host.fixture.ts. It is started before the jail is closed, and outside of the VM's cgroup. */
import { join } from "node:path";

type Child = Bun.Subprocess<"pipe", "pipe", "inherit">;

export class GuestHost {
  /** Resolves when the guest has ended by itself. */
  readonly exited: Promise<void>;
  readonly #child: Child;
  readonly #where: { readonly root: string; readonly user: number };
  readonly #exited = Promise.withResolvers<void>();
  readonly #waiting = new Map<number, (answer: Record<string, unknown>) => void>();
  #lastId = 0;

  constructor(world: string, where: { readonly root: string; readonly user: number }) {
    this.#where = where;
    this.exited = this.#exited.promise;
    const program = join(import.meta.dir, "guest-host.fixture.ts");
    const own = ["unshare", "--mount", "--propagation", "private", process.execPath, program, world];
    // Its descriptor 3 is the guest's serial port: Firecracker's stdout.
    this.#child = Bun.spawn(own, { stdio: ["pipe", "pipe", "inherit", 1], detached: true }) as Child;
    void this.#read();
    // One that broke takes its fake along: a test would wait for it without end.
    void this.#child.exited.then((status) => {
      if (status !== 0) process.exit(status);
    });
  }

  async ask(command: Record<string, unknown>): Promise<Record<string, unknown>> {
    const id = ++this.#lastId;
    const answer = new Promise<Record<string, unknown>>((resolve) => this.#waiting.set(id, resolve));
    this.#child.stdin.write(`${JSON.stringify({ id, ...this.#where, ...command })}\n`);
    this.#child.stdin.flush();
    const said = await answer;
    if (typeof said.error === "string") throw new Error(said.error);
    return said;
  }

  async #read(): Promise<void> {
    let rest = "";
    for await (const chunk of this.#child.stdout.pipeThrough(new TextDecoderStream() as never)) {
      const lines = (rest + String(chunk)).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        const message = JSON.parse(line) as Record<string, unknown>;
        if (message.exited === true) this.#exited.resolve();
        else this.#waiting.get(Number(message.id))?.(message);
      }
    }
  }
}
