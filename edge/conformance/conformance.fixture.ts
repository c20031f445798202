/**
 * For the conformance suite: an edge as a process on one of the runtimes, in front of an origin whose answers are bytes.
 * Only sockets, files and signals touch the edge, so that the same cases hold for every runtime and every version.
 */
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Services } from "../../control/contract/machine.ts";
import { startedMachine } from "../../control/contract/machine-row.fixture.ts";
import { freePort } from "../../deploy/servers/child.ts";
import { idOf, RawClient, until } from "../edge.fixture.ts";
import { RUNTIMES } from "../workers/workers.fixture.ts";

export type RuntimeName = keyof typeof RUNTIMES;
const program = new URL("../main.ts", import.meta.url).pathname;

/** A request as the origin read it; the body without its framing's chunk lines. */
export interface Seen {
  readonly head: string;
  readonly body: string;
  readonly socket: Socket;
}

export interface Origin {
  readonly port: number;
  readonly seen: Seen[];
  /** Sockets that ended or broke. */
  readonly closed: number;
  /** By target; what none is named for is answered with 200 and `hello`. */
  readonly answers: Map<string, (request: Seen) => void>;
  stop(): Promise<void>;
}

export const HELLO = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

export function startOrigin(): Promise<Origin> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    let text = "";
    let tunnel = false;
    socket.on("data", (bytes: Buffer) => {
      if (tunnel) return;
      text += bytes.toString("latin1");
      for (let request = readRequest(text, socket); request !== null; request = readRequest(text, socket)) {
        text = text.slice(request.length);
        origin.seen.push(request.seen);
        tunnel = /\r\nupgrade:/i.test(request.seen.head);
        const answer = origin.answers.get(request.seen.head.split(" ")[1]!);
        if (answer === undefined) socket.write(HELLO);
        else answer(request.seen);
      }
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      sockets.delete(socket);
      origin.closed++;
    });
  });
  const origin: { -readonly [K in keyof Origin]: Origin[K] } = {
    port: 0,
    seen: [],
    closed: 0,
    answers: new Map(),
    stop() {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
  return new Promise((resolve) =>
    server.listen(0, "127.0.0.1", () => {
      origin.port = (server.address() as { port: number }).port;
      resolve(origin);
    })
  );
}

function readRequest(text: string, socket: Socket): { seen: Seen; length: number } | null {
  const end = text.indexOf("\r\n\r\n");
  if (end === -1) return null;
  const head = text.slice(0, end + 4);
  const rest = text.slice(end + 4);
  if (/\r\ntransfer-encoding: chunked\r\n/i.test(head)) {
    let body = "";
    for (let at = 0;;) {
      const line = rest.indexOf("\r\n", at);
      if (line === -1) return null;
      const size = Number.parseInt(rest.slice(at, line), 16);
      if (size === 0) {
        const last = rest.indexOf("\r\n\r\n", line);
        return last === -1 ? null : { seen: { head, body, socket }, length: end + 4 + last + 4 };
      }
      if (rest.length < line + 2 + size + 2) return null;
      body += rest.slice(line + 2, line + 2 + size);
      at = line + 2 + size + 2;
    }
  }
  const length = Number(/\r\ncontent-length: (\d+)\r\n/i.exec(head)?.[1] ?? 0);
  if (rest.length < length) return null;
  return { seen: { head, body: rest.slice(0, length), socket }, length: end + 4 + length };
}

export class EdgeProcess {
  readonly runtime: RuntimeName;
  readonly port: number;
  readonly adminPort: number;
  readonly tlsPort: number;
  readonly origin: Origin;
  readonly child: Bun.Subprocess;
  readonly #folder: string;
  #apps = 0;

  private constructor(
    runtime: RuntimeName,
    ports: readonly [number, number, number],
    origin: Origin,
    child: Bun.Subprocess,
    folder: string,
  ) {
    this.runtime = runtime;
    [this.port, this.adminPort, this.tlsPort] = ports;
    this.origin = origin;
    this.child = child;
    this.#folder = folder;
  }

  static async start(runtime: RuntimeName): Promise<EdgeProcess> {
    const folder = mkdtempSync(join(tmpdir(), "godwit-conformance-"));
    const rows = join(folder, "rows.ndjson");
    writeFileSync(rows, "");
    const origin = await startOrigin();
    const ports = [await freePort(), await freePort(), await freePort()] as const;
    const said = Bun.file(join(folder, "said"));
    const child = Bun.spawn([
      ...[...RUNTIMES[runtime], program, "--rows", rows, "--region", "ams"],
      ...["--from", `127.0.0.1:${ports[0]}`, "--admin", `127.0.0.1:${ports[1]}`],
      ...["--tls", `127.0.0.1:${ports[2]}`, "--http3", "--access-log", join(folder, "access.log")],
    ], { stdin: "ignore", stdout: said, stderr: said });
    const edge = new EdgeProcess(runtime, ports, origin, child, folder);
    try {
      for (const port of ports) {
        await until(
          () => RawClient.open(port).then((client) => (client.close(), true), () => false),
          30_000,
        );
      }
    } catch (cause) {
      const words = await said.text();
      await edge.stop("SIGKILL");
      throw new Error(`the edge did not start: ${words}`, { cause });
    }
    await edge.app("app", origin.port);
    return edge;
  }

  /** Appends rows to the file that the edge follows. */
  write(...rows: readonly object[]): void {
    appendFileSync(join(this.#folder, "rows.ndjson"), rows.map((row) => JSON.stringify(row) + "\n").join(""));
  }

  /** An app `NAME.test` with one machine at `port`; resolves when it is routed. */
  async app(name: string, port: number): Promise<void> {
    const app_id = idOf(`app${this.#apps++}`);
    const ports = [this.port, this.tlsPort].map((port) => ({ port }));
    const machine = startedMachine(port, {
      ...{ id: idOf(`m${this.#apps}`, 14), app_id, host_id: "host-1" },
      services: Services.parse([{
        internal_port: port,
        ports,
        concurrency: { type: "requests", soft_limit: 50, hard_limit: null },
      }]),
    });
    this.write(
      { table: "apps", row: { id: app_id, name, org_id: idOf("org"), org_slug: "org", services: [] } },
      { table: "machines", row: machine },
      { table: "hostnames", row: { hostname: `${name}.test`, app_id } },
    );
    await until(() => this.routes(`${name}.test`));
  }

  async routes(host: string): Promise<boolean> {
    return (await this.adminPage(`/routes?host=${host}`)).startsWith("HTTP/1.1 200");
  }

  async adminPage(path: string): Promise<string> {
    const client = await RawClient.open(this.adminPort);
    const text = await client.send(`GET ${path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n`).end();
    client.close();
    return text;
  }

  /** All that comes back until the edge closes. */
  async ask(bytes: string): Promise<string> {
    const client = await RawClient.open(this.port);
    const text = await client.send(bytes).end();
    client.close();
    return text;
  }

  get(target: string, fields = ""): Promise<string> {
    return this.ask(`GET ${target} HTTP/1.1\r\nHost: app.test\r\n${fields}Connection: close\r\n\r\n`);
  }

  log(): Record<string, unknown>[] {
    const text = readFileSync(join(this.#folder, "access.log"), "utf8");
    return text.split("\n").slice(0, -1).map((line) => JSON.parse(line));
  }

  /** @returns its exit status */
  async stop(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<number> {
    this.child.kill(signal);
    const status = await this.child.exited;
    await this.origin.stop();
    rmSync(this.#folder, { recursive: true, force: true });
    return status;
  }
}

export interface Case {
  readonly name: string;
  /** Why a runtime cannot do it. */
  readonly skip?: Partial<Record<RuntimeName, string>>;
  run(edge: EdgeProcess): Promise<void>;
}
