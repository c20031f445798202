/** For tests: membership agents as processes, each with its configuration, key and socket in a folder of its own. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { MembershipConfig } from "../contract/process-config.ts";
import { FeedReader } from "./feed.fixture.ts";

interface Place {
  readonly address: string;
  readonly port: number;
}

export interface AgentProcess {
  readonly hostId: string;
  readonly socket: string;
  readonly process: Bun.Subprocess;
  readonly feed: FeedReader;
}

export class Fleet {
  readonly folder = mkdtempSync(join(tmpdir(), "godwit-fleet-"));
  readonly #processes: Bun.Subprocess[] = [];
  readonly #feeds: FeedReader[] = [];

  constructor() {
    writeFileSync(join(this.folder, "secret"), "the fleet's secret of 32 characters", { mode: 0o600 });
  }

  socketOf(hostId: string): string {
    return join(this.folder, `${hostId}.sock`);
  }

  /** @param within what the command line begins with: `ip netns exec NAME` */
  async start(
    hostId: string,
    listen: Place,
    seeds: readonly Place[],
    within: string[] = [],
  ): Promise<AgentProcess> {
    const socket = this.socketOf(hostId);
    const config: MembershipConfig = {
      schema: 1,
      host_id: hostId,
      listen,
      seeds: [...seeds],
      secret_files: [join(this.folder, "secret")],
      socket,
      admin: null,
    };
    const path = join(this.folder, `${hostId}.json`);
    writeFileSync(path, JSON.stringify(config), { mode: 0o600 });
    const argv = [...within, process.execPath, join(import.meta.dir, "main.ts"), "--config", path];
    const child = Bun.spawn(argv, { stdin: "ignore", stdout: "ignore", stderr: "inherit" });
    this.#processes.push(child);
    const feed = await FeedReader.open(socket);
    this.#feeds.push(feed);
    return { hostId, socket, process: child, feed };
  }

  async stop(): Promise<void> {
    for (const feed of this.#feeds) feed.close();
    for (const child of this.#processes) child.kill("SIGKILL");
    await Promise.all(this.#processes.map(({ exited }) => exited));
    rmSync(this.folder, { recursive: true });
  }
}
