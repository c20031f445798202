/** A host's outbox and what befalls its stream: whatever it is, a reader that has the stream alone ends with its rows. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { freePort, newPassword } from "../../deploy/servers/child.ts";
import { type RedisOptions, type RedisServer, startRedis } from "../../deploy/servers/redis.ts";
import { regionStream } from "../contract/events.ts";
import { newSigningKeyPem, signingKey } from "../contract/signing.ts";
import { readAnew, type Reading } from "../publish/fresh-reader.fixture.ts";
import { appendEvents } from "../publish/stream-writer.ts";
import { Metrics } from "./metrics.ts";
import { Outbox } from "./outbox.ts";
import { connectRedis } from "./redis.ts";
import { insertMachine, listMachines, patchMachine } from "./store/machines.ts";
import { enqueue, outboxDepth } from "./store/outbox.ts";
import { aMachineSpec } from "./store/store.fixture.ts";
import { Store } from "./store/store.ts";

const TICK_MS = 100;
const WAIT_MS = 20_000;
const stream = regionStream("dev");
const key = signingKey(newSigningKeyPem());
let folder: string;
let redisOptions: RedisOptions;
let server: RedisServer;
let store: Store;
let admin: Redis;
let writer: Redis;
let outbox: Outbox;
const reasons: string[] = [];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "godwit-outbox-"));
  redisOptions = {
    folder: join(folder, "redis"),
    port: await freePort(),
    passwords: { admin: newPassword(), api: newPassword(), worker: newPassword(), edge: newPassword() },
    workers: [{ hostId: "h1", region: "dev", password: newPassword() }],
    logFile: join(folder, "redis.log"),
  };
  server = await startRedis(redisOptions);
  admin = new Redis(server.urlOf("admin"), { protocol: 2 });
  admin.on("error", () => {}); // it is taken away on purpose
  reasons.length = 0;
  openStore();
  startOutbox();
}, 60_000);
afterEach(async () => {
  await stopOutbox();
  admin.disconnect();
  store.close();
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
}, 60_000);

function openStore(): void {
  const file = join(folder, "worker.sqlite");
  store = new Store({ file, host_id: "h1", region: "dev", vmm: "runc", now: Date.now });
}

function startOutbox(digestIntervalMs = TICK_MS): void {
  writer = connectRedis(server.urlOf("worker-h1"), () => {});
  outbox = new Outbox({
    redis: writer,
    store,
    key,
    metrics: new Metrics(),
    random: Math.random,
    onFailure: () => {},
    onRepublish: (reason) => reasons.push(reason),
    digestIntervalMs,
  });
  outbox.start();
}

async function stopOutbox(): Promise<void> {
  await outbox.stop();
  writer.disconnect();
}

function addMachine(): string {
  const spec = aMachineSpec();
  store.write(() => {
    insertMachine(store, spec);
    patchMachine(store, spec.id, { made: true });
  });
  return spec.id;
}

function publishHost(cpus: number): void {
  const row = { id: "h1", region: "dev", state: "ready" as const, cpus, memory_mb: 1_024 };
  store.write(() => {
    store.setFact("host_row", JSON.stringify(row));
    enqueue(store, "hosts", row, false);
  });
}

async function untilWhole(): Promise<Reading> {
  const machines = listMachines(store).map((machine) => `machines/h1/${machine.id}`);
  const rows = [...machines, ...(store.fact("host_row") === null ? [] : ["hosts/h1"])].sort();
  for (const deadline = Date.now() + WAIT_MS;;) {
    const reading = await readAnew(admin, stream, "worker:h1", key.publicKey);
    const isWhole = Bun.deepEquals([...reading.live.keys()].sort(), rows) && reading.lastIsDigest &&
      reading.digests.at(-1)!.matches && outboxDepth(store) === 0;
    if (isWhole) return reading;
    if (Date.now() > deadline) {
      expect({ held: [...reading.live.keys()].sort(), last: reading.digests.at(-1) }).toEqual({
        held: rows,
        last: undefined,
      });
    }
    await Bun.sleep(5);
  }
}

describe("Outbox and its stream", () => {
  test("digests are true at their places, and each entry is signed", async () => {
    publishHost(1);
    for (let round = 0; round < 5; round++) {
      for (let i = 0; i < 20; i++) addMachine();
      const before = (await readAnew(admin, stream, "worker:h1")).digests.length;
      while ((await readAnew(admin, stream, "worker:h1")).digests.length === before) await Bun.sleep(5);
    }
    const reading = await untilWhole();
    expect(reading.digests.length).toBeGreaterThan(4);
    expect(reading.digests.filter((digest) => !digest.matches)).toEqual([]);
    expect(reading.unsigned).toBe(0);
    expect(reading.digests.at(-1)!.digest.tables.machines!.rows).toBe(100);
    expect(reasons).toEqual(["new_epoch"]);
  }, 60_000);

  const losses: [string, () => Promise<unknown>][] = [
    ["FLUSHALL", () => admin.flushall()],
    ["DEL of the stream", () => admin.del(stream)],
    ["XTRIM past the full publication", () => admin.xtrim(stream, "MAXLEN", 1)],
  ];
  for (const [name, lose] of losses) {
    test(`after ${name} publishes all rows again`, async () => {
      publishHost(1);
      for (let i = 0; i < 3; i++) addMachine();
      const before = await untilWhole();
      reasons.length = 0;
      await lose();
      const after = await untilWhole();
      const versions = ({ live }: Reading) =>
        Array.from(live, ([name, { version }]) => [name, version]).sort();
      expect(versions(after)).toEqual(versions(before));
      // Which one it is depends on whether a digest came first.
      expect(reasons).not.toEqual([]);
    }, 60_000);
  }

  test(
    "after Redis came back from an older append-only file publishes all rows again, another's entries or not",
    async () => {
      publishHost(1);
      await untilWhole();
      const copy = join(folder, "copy");
      await server.stop();
      cpSync(redisOptions.folder, copy, { recursive: true });
      await stopOutbox();
      server = await startRedis(redisOptions);
      // No tick will come to its help: the look is the new connection's.
      startOutbox(600_000);
      for (let i = 0; i < 3; i++) addMachine();
      while (outboxDepth(store) > 0) await Bun.sleep(5);
      await server.stop();
      rmSync(redisOptions.folder, { recursive: true });
      cpSync(copy, redisOptions.folder, { recursive: true });
      addMachine();
      server = await startRedis(redisOptions);
      const row = { id: "h2", region: "dev", state: "ready", cpus: 1, memory_mb: 1 };
      const version = { epoch: 1, seq: 1 };
      await appendEvents(
        admin,
        stream,
        [{
          schema: 1,
          owner: "worker:h2",
          table: "hosts",
          key: "h2",
          version,
          deleted: false,
          row,
          published_ms: 0,
        }],
        null,
      );
      await untilWhole();
      expect(reasons).toContain("tail_lost");
    },
    60_000,
  );

  test(
    "a host that was set back takes a new epoch by itself, and readers drop what it no longer knows",
    async () => {
      publishHost(1);
      const kept = addMachine();
      await untilWhole();
      await stopOutbox();
      store.close();
      const [file, copy] = [join(folder, "worker.sqlite"), join(folder, "worker.copy")];
      cpSync(file, copy);
      openStore();
      startOutbox();
      const lost = addMachine();
      publishHost(2);
      const before = await untilWhole();
      await stopOutbox();
      store.close();
      for (const end of ["", "-wal", "-shm"]) rmSync(file + end, { force: true });
      cpSync(copy, file);
      reasons.length = 0;
      openStore();
      startOutbox();
      const after = await untilWhole();
      expect(reasons).toEqual(["new_epoch"]);
      expect([...after.live.keys()].sort()).toEqual(["hosts/h1", `machines/h1/${kept}`]);
      expect(after.live.has(`machines/h1/${lost}`)).toBe(false);
      expect(after.live.get("hosts/h1")!.row).toMatchObject({ cpus: 1 });
      const { newest, floor_epoch } = after.digests.at(-1)!.digest;
      expect(newest.epoch).toBeGreaterThan(before.digests.at(-1)!.digest.newest.epoch);
      expect(floor_epoch).toBe(newest.epoch);
    },
    60_000,
  );
});
