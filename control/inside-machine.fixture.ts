/** An app with one machine that runs: the real API, the real worker's agent on runc, and the command line against them. */
import { resolve } from "node:path";
import { DEPLOY, NODE_TOKEN, TestApi } from "./api/api.fixture.ts";
import { HostView } from "./contract/worker-api.ts";
import { appByName } from "./store/apps.ts";
import { insertMachine } from "./store/machines.ts";
import { TestWorker } from "./worker/testbed.fixture.ts";

export interface Run {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export class InsideMachine {
  readonly app = "inside";
  readonly api: TestApi;
  readonly worker: TestWorker;
  readonly machineId: string;
  readonly #server: Bun.Server<undefined>;

  private constructor(api: TestApi, worker: TestWorker, machineId: string) {
    this.api = api;
    this.worker = worker;
    this.machineId = machineId;
    this.#server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      idleTimeout: 120,
      fetch: (request) => {
        const { pathname, search } = new URL(request.url);
        const { method, headers, signal, body } = request;
        const init: RequestInit & { duplex: "half" } = { method, headers, signal, body, duplex: "half" };
        return api.request(pathname + search, init, null);
      },
    });
  }

  static async start(): Promise<InsideMachine> {
    const [api, worker] = await Promise.all([TestApi.start(), TestWorker.create()]);
    await worker.start();
    await worker.pull();
    const host = HostView.parse(await worker.call("GET", "/v1/host"));
    const url = `unix:${worker.config.listen_socket}`;
    const registered = await api.request(`/internal/v1/hosts/${host.id}`, {
      method: "PUT",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ host, url }),
    }, NODE_TOKEN);
    if (registered.status !== 204) throw new Error(await registered.text());
    await api.createApp("inside");
    const app = (await api.store.read((sql) => appByName(sql, "inside")))!;
    // No runner takes it up: only its row is wanted.
    const { deployImage } = await api.ask(DEPLOY, { input: { app: "inside", image: "test/app:1" } });
    const spec = worker.spec({ app_id: app.id, app_name: app.name });
    await worker.call("PUT", `/v1/machines/${spec.id}`, spec);
    await worker.call("POST", `/v1/machines/${spec.id}/start`);
    await worker.wait(spec.id, "started");
    const releaseId = deployImage.release.rowId;
    await api.store.read((sql) =>
      insertMachine(sql, { id: spec.id, appId: app.id, releaseId, hostId: host.id, region: host.region })
    );
    return new InsideMachine(api, worker, spec.id);
  }

  get url(): string {
    return this.#server.url.href;
  }

  argv(...args: string[]): string[] {
    return [process.execPath, resolve(import.meta.dir, "cli/main.ts"), ...args];
  }

  get env(): Record<string, string> {
    return {
      PATH: process.env.PATH ?? "",
      GODWIT_HOME: "/nonexistent",
      GODWIT_API_URL: this.url,
      GODWIT_TOKEN: this.api.token,
      GODWIT_APP: this.app,
    };
  }

  async godwit(args: string[], options: { stdin?: string; cwd?: string } = {}): Promise<Run> {
    const child = Bun.spawn(this.argv(...args), {
      stdin: options.stdin === undefined ? "ignore" : new Blob([options.stdin]),
      stdout: "pipe",
      stderr: "pipe",
      env: this.env,
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
    const [stdout, stderr, status] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    return { status, stdout, stderr };
  }

  async close(): Promise<void> {
    await this.#server.stop(true);
    await this.worker.remove();
    await this.api.close();
  }
}
