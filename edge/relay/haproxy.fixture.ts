/** For tests: Debian's HAProxy with a configuration, on ports of its own. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { closedPort, until } from "../edge.fixture.ts";

export const HAPROXY = Bun.which("haproxy") ??
  (await Bun.file("/usr/sbin/haproxy").exists() ? "/usr/sbin/haproxy" : null);

export interface Haproxy {
  readonly port: number;
  stop(): Promise<void>;
}

/** @param sections frontends and backends; `PORT` stands for the port to bind */
export async function startHaproxy(sections: string): Promise<Haproxy> {
  const folder = mkdtempSync(join(tmpdir(), "godwit-haproxy-"));
  const port = await closedPort();
  const file = join(folder, "haproxy.cfg");
  writeFileSync(
    file,
    `global\n  maxconn 100\ndefaults\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n` +
      `${sections.replaceAll("PORT", String(port))}\n`,
  );
  const child = Bun.spawn([HAPROXY!, "-db", "-q", "-f", file], { stdout: "ignore", stderr: "pipe" });
  try {
    await until(async () => {
      if (child.exitCode !== null) throw new Error(await new Response(child.stderr).text());
      return await listens(port);
    });
  } catch (error) {
    child.kill();
    throw error;
  }
  return {
    port,
    async stop() {
      child.kill();
      await child.exited;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1" });
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
