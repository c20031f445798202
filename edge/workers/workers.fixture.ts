/** For tests: an edge with workers as a process, clients that retry nothing, and what they counted. */
import { connect, type Socket } from "node:net";
import { freePort } from "../../deploy/servers/child.ts";
import { until } from "../edge.fixture.ts";

const root = new URL("../../", import.meta.url).pathname;

export const RUNTIMES: Record<"bun" | "deno", readonly string[]> = {
  bun: [process.execPath],
  deno: [denoProgram(), "run", "-A", "--quiet"],
};

/** The program itself: `node_modules/.bin/deno` is a script in front of it that passes no signals on. */
function denoProgram(): string {
  const [found] = new Bun.Glob("@deno/*/deno").scanSync({ cwd: `${root}node_modules`, absolute: true });
  return found ?? `${root}node_modules/@deno`;
}

export interface WorkersEdge {
  readonly port: number;
  readonly adminPort: number;
  readonly child: Bun.Subprocess;
  said(): Promise<string>;
  health(): Promise<Health>;
  /** Resolves once every worker is one that was not there before. */
  replaced(before: Health): Promise<void>;
  stop(): Promise<number>;
}

export interface Health {
  readonly status: string;
  readonly serving: number;
  readonly retiring: number;
  readonly workers: readonly { readonly worker: string; readonly status: string }[];
}

export async function startWorkersEdge(
  runtime: "bun" | "deno",
  workers: number,
  options: readonly string[],
  folder: string,
): Promise<WorkersEdge> {
  const [port, adminPort] = [await freePort(), await freePort()];
  const saidFile = Bun.file(`${folder}/said-${port}`);
  const child = Bun.spawn([
    ...RUNTIMES[runtime],
    `${root}edge/main.ts`,
    ...["--from", `127.0.0.1:${port}`, "--admin", `127.0.0.1:${adminPort}`, "--workers", String(workers)],
    ...["--access-log", `${folder}/access.log`, ...options],
  ], { stdin: "ignore", stdout: saidFile, stderr: saidFile });
  const health = () =>
    fetch(`http://127.0.0.1:${adminPort}/healthz`, { keepalive: false }).then((r) =>
      r.json() as Promise<Health>
    );
  const edge: WorkersEdge = {
    port,
    adminPort,
    child,
    said: () => saidFile.text(),
    health,
    async replaced(before) {
      const old = new Set(before.workers.map(({ worker }) => worker));
      await until(async () => {
        const { workers: now, retiring, serving } = await health();
        const fresh = now.filter(({ worker }) => !old.has(worker)).length;
        return fresh === before.serving && serving === before.serving && now.length === fresh + retiring;
      }, 60_000);
    },
    async stop() {
      child.kill("SIGTERM");
      return await child.exited;
    },
  };
  try {
    await until(() => health().then(({ status }) => status === "ok", () => false), 60_000);
  } catch (error) {
    child.kill("SIGKILL");
    throw new Error(`the edge did not start: ${await saidFile.text()}`, { cause: error });
  }
  return edge;
}

const REQUEST = "GET / HTTP/1.1\r\nHost: any.test\r\n\r\n";

/** Asks all the time until told to stop; a connection that ends without having said so is a failure. */
export class SteadyClients {
  readonly failures: string[] = [];
  requests = 0;
  connects = 0;
  slowestMs = 0;
  #stopping = false;
  readonly #running: Promise<void>[] = [];
  readonly #port: number;
  readonly #pauseMs: number;

  /**
   * @param kept clients that keep their connection
   * @param fresh clients that connect for each request
   * @param pauseMs before each request, so that the machine is not full of them
   */
  constructor(port: number, kept: number, fresh: number, pauseMs = 0) {
    this.#port = port;
    this.#pauseMs = pauseMs;
    for (let i = 0; i < kept; i++) this.#running.push(this.#run(true));
    for (let i = 0; i < fresh; i++) this.#running.push(this.#run(false));
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.#running);
  }

  async #run(keep: boolean): Promise<void> {
    while (!this.#stopping) {
      try {
        await this.#connection(keep);
      } catch (error) {
        this.failures.push(String(error));
      }
    }
  }

  /** One connection's life: ends well only after a response that announced it. */
  #connection(keep: boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const socket: Socket = connect({ port: this.#port, host: "127.0.0.1" });
      let text = "";
      let last = false;
      let askedMs = 0;
      const send = () => {
        if (this.#pauseMs === 0) ask();
        else setTimeout(ask, this.#pauseMs);
      };
      const ask = () => {
        text = "";
        askedMs = performance.now();
        socket.write(keep ? REQUEST : REQUEST.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
      };
      socket.on("connect", () => {
        this.connects++;
        send();
      });
      socket.on("data", (bytes: Buffer) => {
        text += bytes.toString("latin1");
        if (!text.endsWith("\r\n\r\nhello")) return;
        if (!text.startsWith("HTTP/1.1 200 ")) reject(new Error(text.slice(0, 60)));
        this.requests++;
        this.slowestMs = Math.max(this.slowestMs, performance.now() - askedMs);
        last = /\r\nconnection: close\r\n/i.test(text);
        if (last) return;
        if (this.#stopping) {
          resolve();
          socket.destroy();
        } else send();
      });
      socket.on("error", reject);
      socket.on("close", () => {
        if (last) resolve();
        else reject(new Error(`closed after ${JSON.stringify(text.slice(0, 40))}`));
      });
    });
  }
}
