/** API, release runner, publisher and a fixture worker together, for tests of whole deploys. */
import { WorkerClient } from "../place/worker-client.ts";
import { FixtureWorker } from "../place/worker.fixture.ts";
import { DEPLOY, NODE_TOKEN, RELEASE, TestApi } from "../api/api.fixture.ts";
import { Runner } from "./runner.ts";

export interface EndedRelease {
  readonly status: string;
  readonly error: { code: string; message: string; fault: string } | null;
  readonly progress: { message: string }[];
  readonly imageDigest: string | null;
}

export class TestControl {
  readonly api: TestApi;
  readonly worker: FixtureWorker;
  runner: Runner;
  readonly #ends = new Set<() => void>();

  private constructor(api: TestApi, worker: FixtureWorker) {
    this.api = api;
    this.worker = worker;
    this.runner = this.newRunner();
    api.wakeRunner = () => this.runner.wake();
  }

  static async start(options: { ownRedis?: boolean } = {}): Promise<TestControl> {
    const control = new TestControl(await TestApi.start(options), new FixtureWorker());
    await control.register(control.worker);
    control.runner.start();
    return control;
  }

  newRunner(): Runner {
    return new Runner({
      store: this.api.store,
      clientOf: (host) => new WorkerClient(host.id, host.url),
      log: () => {},
      now: Date.now,
      random: Math.random,
      sweepMs: 50,
      drainMs: 0,
      hostRetryMsMax: 1_000,
      onRelease: () => {
        for (const end of this.#ends) end();
      },
    });
  }

  async register(worker: FixtureWorker): Promise<void> {
    const response = await this.api.request(`/internal/v1/hosts/${worker.host.id}`, {
      method: "PUT",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ host: worker.host, url: worker.url }),
    }, NODE_TOKEN);
    if (response.status !== 204) throw new Error(await response.text());
  }

  /** Returns the release's row id. */
  async deploy(app: string, image: string, more: Record<string, unknown> = {}): Promise<string> {
    const data = await this.api.ask(DEPLOY, { input: { app, image, ...more } });
    return data.deployImage.release.rowId;
  }

  /** Waits until the release has succeeded or failed. */
  async ended(rowId: string): Promise<EndedRelease> {
    for (;;) {
      const next = Promise.withResolvers<void>();
      this.#ends.add(next.resolve);
      const { release } = await this.api.ask(RELEASE, { id: rowId });
      if (release.status === "SUCCEEDED" || release.status === "FAILED") return release;
      await next.promise;
      this.#ends.delete(next.resolve);
    }
  }

  async deployed(app: string, image: string, more: Record<string, unknown> = {}): Promise<EndedRelease> {
    return await this.ended(await this.deploy(app, image, more));
  }

  async close(): Promise<void> {
    await this.runner.stop();
    await this.worker.close();
    await this.api.close();
  }
}
