/** For tests: an agent that says what it is told to, in the lines of control/contract/membership.ts. */
import { rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import type { MemberState } from "../../control/contract/membership.ts";

export class FakeAgent {
  readonly readers = new Set<Socket>();
  /** Since the start. */
  opened = 0;
  members: Record<string, MemberState> = {};
  readonly #path: string;
  #server: Server | null = null;

  constructor(path: string) {
    this.#path = path;
  }

  async start(): Promise<void> {
    rmSync(this.#path, { force: true });
    const server = createServer((socket) => {
      this.opened++;
      this.readers.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => this.readers.delete(socket));
      socket.resume();
      this.tellAll(socket);
    });
    await new Promise<void>((resolve) => server.listen(this.#path, resolve));
    this.#server = server;
  }

  async stop(): Promise<void> {
    for (const socket of this.readers) socket.destroy();
    const server = this.#server;
    this.#server = null;
    if (server !== null) await new Promise<void>((resolve) => server.close(() => resolve()));
  }

  tell(hostId: string, state: MemberState): void {
    this.members[hostId] = state;
    this.write(JSON.stringify({ host_id: hostId, state, incarnation: 1, at_ms: 1 }) + "\n");
  }

  tellAll(to: Socket | null = null): void {
    const members = Object.entries(this.members).map(([host_id, state]) => ({
      host_id,
      state,
      incarnation: 1,
      at_ms: 1,
    }));
    this.write(JSON.stringify({ schema: 1, members }) + "\n", to);
  }

  write(text: string, to: Socket | null = null): void {
    for (const socket of to === null ? this.readers : [to]) socket.write(text);
  }
}
