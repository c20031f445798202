/** The two kinds of owners as they are in life: the API's publisher over Postgres, a host's outbox over SQLite. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Redis } from "ioredis";
import { GLOBAL_STREAM, regionStream } from "../../../control/contract/events.ts";
import { newRowId } from "../../../control/contract/names.ts";
import { newSigningKeyPem, signingKey } from "../../../control/contract/signing.ts";
import { announceApp, announceHostname } from "../../../control/publish/announce.ts";
import { Publisher } from "../../../control/publish/publisher.ts";
import { connectRedis } from "../../../control/publish/redis.ts";
import { insertApp } from "../../../control/store/apps.ts";
import { Store as ControlStore } from "../../../control/store/database.ts";
import { deleteHostnamesOfApp, insertHostname } from "../../../control/store/hostnames.ts";
import { migrate } from "../../../control/store/migrate.ts";
import { ensureOrganization } from "../../../control/store/organizations.ts";
import { outboxDepth as controlDepth } from "../../../control/store/outbox.ts";
import { Metrics } from "../../../control/worker/metrics.ts";
import { Outbox } from "../../../control/worker/outbox.ts";
import { connectRedis as connectWorker } from "../../../control/worker/redis.ts";
import { insertMachine, listMachines, patchMachine } from "../../../control/worker/store/machines.ts";
import { outboxDepth as workerDepth } from "../../../control/worker/store/outbox.ts";
import { aMachineSpec } from "../../../control/worker/store/store.fixture.ts";
import { Store as WorkerStore } from "../../../control/worker/store/store.ts";
import { testDatabase } from "../../servers/testbed.ts";

/** Digests, and looks at the stream. */
const TICK_MS = 200;
const PAUSE_MS = 5;
/** Each app loses its host name when so many newer ones have theirs. */
const HOSTNAMES_KEPT = 30;

/** Where they publish, and for which region. */
export interface OwnersPlace {
  readonly api: string;
  readonly worker: string;
  /** @default "dev" */
  readonly region?: string;
}

export class Owners {
  /** What was found about the streams. */
  readonly reasons: string[] = [];
  readonly #folder = mkdtempSync(join(tmpdir(), "godwit-owners-"));
  readonly #control: ControlStore;
  readonly #worker: WorkerStore;
  readonly #publisher: Publisher;
  readonly #outbox: Outbox;
  readonly #connections: readonly Redis[];
  readonly #orgId: string;
  readonly #region: string;
  readonly #apps: string[] = [];
  #changing = false;
  #load: Promise<void> = Promise.resolve();
  changes = 0;

  private constructor(control: ControlStore, orgId: string, place: OwnersPlace) {
    this.#control = control;
    this.#orgId = orgId;
    this.#region = place.region ?? "dev";
    this.#worker = new WorkerStore({
      ...{ file: join(this.#folder, "worker.sqlite"), host_id: "h1", region: this.#region, vmm: "runc" },
      now: Date.now,
    });
    const key = signingKey(newSigningKeyPem());
    const onRepublish = (reason: string) => void this.reasons.push(reason);
    const redis = connectRedis(place.api, { stream: GLOBAL_STREAM });
    redis.connect().catch(() => {}); // it tries again by itself
    const workerRedis = connectWorker(place.worker, () => {}, { stream: regionStream(this.#region) });
    this.#connections = [redis, workerRedis];
    const shared = { key, onRepublish, digestIntervalMs: TICK_MS };
    this.#publisher = new Publisher({ ...shared, store: control, redis, log: () => {} });
    this.#outbox = new Outbox({
      ...{ ...shared, redis: workerRedis, store: this.#worker, metrics: new Metrics() },
      ...{ random: Math.random, onFailure: () => {} },
    });
  }

  static async start(place: OwnersPlace): Promise<Owners> {
    const control = new ControlStore(await testDatabase());
    await migrate(control);
    const orgId = (await control.read((sql) => ensureOrganization(sql, "personal"))).id;
    const owners = new Owners(control, orgId, place);
    await owners.#publisher.start();
    owners.#outbox.start();
    return owners;
  }

  /** One durable change of each owner. */
  async change(): Promise<void> {
    const n = ++this.changes;
    const appId = newRowId();
    await this.#control.transaction(async (tx) => {
      await insertApp(tx, { id: appId, orgId: this.#orgId, name: `app-${n}` });
      await insertHostname(tx, `app-${n}.test`, appId);
      await announceApp(tx, appId);
      await announceHostname(tx, `app-${n}.test`);
    });
    this.#apps.push(appId);
    const over = this.#apps.length > HOSTNAMES_KEPT ? this.#apps.shift() : undefined;
    if (over !== undefined) {
      await this.#control.transaction(async (tx) => {
        for (const name of await deleteHostnamesOfApp(tx, over)) await announceHostname(tx, name);
      });
    }
    const spec = aMachineSpec({ region: this.#region });
    this.#worker.write(() => {
      insertMachine(this.#worker, spec);
      patchMachine(this.#worker, spec.id, { made: true });
    });
  }

  /** Changes all the time, until `endLoad`. */
  beginLoad(): void {
    this.#changing = true;
    this.#load = (async () => {
      while (this.#changing) {
        await this.change();
        await Bun.sleep(PAUSE_MS);
      }
    })();
  }

  async endLoad(): Promise<void> {
    this.#changing = false;
    await this.#load;
  }

  /** Events that no Redis has acknowledged. */
  async waiting(): Promise<number> {
    return Number(await this.#control.read(controlDepth)) + workerDepth(this.#worker);
  }

  /** `TABLE KEY` of each row that the owners themselves have. */
  async rows(): Promise<string[]> {
    const rows = await this.#control.read((sql) =>
      sql`SELECT 'apps ' || id AS row FROM apps UNION ALL SELECT 'hostnames ' || hostname FROM hostnames`
    );
    const machines = listMachines(this.#worker).map(({ id }) => `machines h1/${id}`);
    return [...rows.map(({ row }: { row: string }) => row), ...machines].sort();
  }

  async stop(): Promise<void> {
    await this.endLoad();
    await Promise.all([this.#publisher.stop(), this.#outbox.stop()]);
    for (const redis of this.#connections) redis.disconnect();
    await this.#control.close();
    this.#worker.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
