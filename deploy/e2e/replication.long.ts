/**
 * Chaos on replication alone: Redis, the API's publishers, workers and replicators are killed or paused at random while host
 * names and machines come and go. At the end every replica holds just what Postgres and the workers' files hold, which is
 * read with plain SQL on all sides and with none of the code that replicates (`replication/plain-rows.ts`). Runs in `bun run check --long`; GODWIT_CHAOS_SEED repeats a run, GODWIT_CHAOS_S sets
 * its length.
 */
import { afterAll, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { newRowId } from "../../control/contract/names.ts";
import { newSigningKeyPem, signingKey } from "../../control/contract/signing.ts";
import { announceApp, announceHostname, announcePublisher } from "../../control/publish/announce.ts";
import { insertApp } from "../../control/store/apps.ts";
import { Store } from "../../control/store/database.ts";
import { insertHostname } from "../../control/store/hostnames.ts";
import { registerHost } from "../../control/store/hosts.ts";
import { migrate } from "../../control/store/migrate.ts";
import { ensureOrganization } from "../../control/store/organizations.ts";
import { seededRandom } from "../bench/seeded-random.ts";
import { freePort, newPassword } from "../servers/child.ts";
import { type RedisServer, type RedisUser, redisUserOf, startRedis } from "../servers/redis.ts";
import { testDatabase } from "../servers/testbed.ts";
import { machinesInWorker, namesInPostgres, rowsInReplica } from "./replication/plain-rows.ts";
import { childVictim, type Victim } from "./replication/victims.ts";
import type { WorkerSettings } from "./replication/worker-main.ts";

const LENGTH_S = Number(process.env.GODWIT_CHAOS_S ?? 600);
const SEED = Number(process.env.GODWIT_CHAOS_SEED ?? crypto.getRandomValues(new Uint32Array(1))[0]);
const PUBLISHERS = 2;
const REPLICAS = 4;
/** Two of them share a stream. */
const HOSTS = [
  { hostId: "ams-1", region: "ams" },
  { hostId: "ams-2", region: "ams" },
  { hostId: "fra-1", region: "fra" },
] as const;
/** Host names that come and go; the more, the fewer changes hit the same key. */
const NAMES = 2_000;
const CHANGE_INTERVAL_MS = 10;
const ROUND_MS_MAX = 3_000;
const PAUSE_MS_MAX = 4_000;
/** How long after the last fault everybody may take to agree: the minute. */
const AGREE_MS_MAX = 60_000;

const folder = mkdtempSync(join(tmpdir(), "godwit-replication-"));
/** One of a kind is hit as often as one of another, however many there are. */
const victims = { redis: [], publishers: [], workers: [], replicas: [] } as Record<string, Victim[]>;
const allVictims = () => Object.values(victims).flat();
let store: Store | null = null;
afterAll(async () => {
  for (const victim of allVictims()) {
    victim.goOn();
    await victim.stop();
  }
  await store?.close();
  rmSync(folder, { recursive: true, force: true });
}, 60_000);

test(
  `replication with seed ${SEED} for ${LENGTH_S} s of faults: every replica ends equal to its owners`,
  async () => {
    const random = seededRandom(SEED);
    // Its own, so that the seed alone decides upon the faults.
    const chance = seededRandom(SEED + 1);
    const pick = <T>(from: readonly T[]): T => from[Math.floor(chance() * from.length)]!;
    const databaseUrl = await testDatabase();
    store = new Store(databaseUrl);
    await migrate(store);
    const source = store;
    const workers = HOSTS.map((host) => ({ ...host, password: newPassword(), keyPem: newSigningKeyPem() }));
    const redis = await redisVictim(workers);
    victims.redis!.push(redis.victim);
    await redis.victim.start();
    const keyPem = newSigningKeyPem();
    const output = openSync(join(folder, "said.log"), "a");
    const publisher = { databaseUrl, redisUrl: redis.urlOf("api"), keyPem };
    for (let i = 0; i < PUBLISHERS; i++) {
      victims.publishers!.push(ownerVictim(`publisher ${i}`, "publisher-main.ts", publisher, output));
    }
    const replicaFiles = Array.from(
      { length: REPLICAS },
      (_, i) => join(folder, `replica-${i}`, "replica.sqlite"),
    );
    replicaFiles.forEach((file, i) =>
      victims.replicas!.push(replicaVictim(i, file, redis, signingKey(keyPem).publicKey, output))
    );
    const endFile = join(folder, "end");
    const hosts = workers.map(({ hostId, region, keyPem }, i) => {
      const at = join(folder, hostId);
      mkdirSync(at);
      const settings: WorkerSettings = {
        ...{ hostId, region, keyPem, endFile, redisUrl: redis.urlOf(redisUserOf(hostId)), seed: SEED + i },
        ...{ file: join(at, "worker.sqlite"), drainedFile: join(at, "drained") },
      };
      const victim = ownerVictim(hostId, "worker-main.ts", settings, output);
      victims.workers!.push(victim);
      return { settings, victim };
    });
    for (const victim of allVictims()) if (victim !== redis.victim) await victim.start();

    const organization = await source.read((sql) => ensureOrganization(sql, "personal"));
    const appId = newRowId();
    await source.transaction(async (tx) => {
      await insertApp(tx, { id: appId, orgId: organization.id, name: "chaos" });
      await announceApp(tx, appId);
    });
    // After they have begun: what they published by then is believed once their keys have come.
    for (const { hostId, region, keyPem } of workers) {
      await source.transaction(async (tx) => {
        await registerHost(tx, registrationOf(hostId, region, signingKey(keyPem).publicKey));
        await announcePublisher(tx, hostId);
      });
    }
    let changes = 0;
    const writing = new AbortController();
    const writer = (async () => {
      while (!writing.signal.aborted) {
        const name = `name-${Math.floor(random() * NAMES)}.test`;
        await source.transaction(async (tx) => {
          const [found] = await tx`DELETE FROM hostnames WHERE hostname = ${name} RETURNING hostname`;
          if (found === undefined) await insertHostname(tx, name, appId);
          await announceHostname(tx, name);
        });
        changes++;
        await Bun.sleep(CHANGE_INTERVAL_MS);
      }
    })();

    const deadline = performance.now() + LENGTH_S * 1_000;
    let faults = 0;
    for (; performance.now() < deadline; faults++) {
      const victim = pick(pick(Object.values(victims)));
      if (chance() < 0.5) {
        console.log(`fault ${faults}: kill -9 ${victim.name}`);
        await victim.kill();
        await Bun.sleep(chance() * ROUND_MS_MAX);
        await victim.start();
      } else {
        const pauseMs = Math.round(chance() * PAUSE_MS_MAX);
        console.log(`fault ${faults}: pause ${victim.name} for ${pauseMs} ms`);
        victim.pause();
        await Bun.sleep(pauseMs);
        victim.goOn();
      }
      await Bun.sleep(chance() * ROUND_MS_MAX);
    }
    writing.abort();
    await writer;
    writeFileSync(endFile, "");

    const agreeBy = performance.now() + AGREE_MS_MAX;
    const machines: string[] = [];
    for (const { settings: { hostId, file, drainedFile }, victim } of hosts) {
      while (!existsSync(drainedFile)) {
        if (performance.now() > agreeBy) throw new Error(`${hostId} still has something to publish`);
        await Bun.sleep(100);
      }
      await victim.kill();
      machines.push(...machinesInWorker(file, hostId));
      await victim.start();
    }
    const names = await namesInPostgres(source);
    const wanted = [...names, ...machines].sort();
    for (const file of replicaFiles) {
      let rows: string[] = [];
      for (;;) {
        rows = rowsInReplica(file);
        if (Bun.deepEquals(rows, wanted) || performance.now() > agreeBy) break;
        await Bun.sleep(100);
      }
      expect({ file, rows }).toEqual({ file, rows: wanted });
    }
    console.log(
      `${changes} changes, ${faults} faults, ${names.length} names and ${machines.length} machines in ${REPLICAS} ` +
        "replicas, all equal",
    );
    expect(names.length).toBeGreaterThan(0);
    for (const { hostId } of HOSTS) {
      expect(machines.filter((row) => row.startsWith(`machine ${hostId}/`)).length).toBeGreaterThan(0);
    }
  },
  LENGTH_S * 1_000 + 300_000,
);

function registrationOf(id: string, region: string, publisher_key: string) {
  const host = {
    ...{ id, region, version: "0.0.0", vmm: "runc", acceleration: "none" } as const,
    ...{ cpus: 1, memory_mb: 1_024, memory_free_mb: 1_024, machines: 0 },
  };
  return { host, url: `unix:/run/${id}.sock`, publisher_key };
}

interface RedisHost {
  readonly hostId: string;
  readonly region: string;
  readonly password: string;
}

/** Each owner has a user of its own. */
async function redisVictim(workers: readonly RedisHost[]): Promise<
  { victim: Victim; urlOf: (user: RedisUser) => string; edgePassword: string }
> {
  const options = {
    folder: join(folder, "redis"),
    port: await freePort(),
    passwords: { admin: newPassword(), api: newPassword(), worker: newPassword(), edge: newPassword() },
    logFile: join(folder, "redis.log"),
    workers,
  };
  let server: RedisServer | null = null;
  const signal = (name: NodeJS.Signals) => {
    if (server !== null) process.kill(server.pid, name);
  };
  const kill = async () => {
    signal("SIGKILL");
    await server?.stop();
    server = null;
  };
  return {
    victim: {
      name: "redis",
      kill,
      pause: () => signal("SIGSTOP"),
      goOn: () => signal("SIGCONT"),
      start: async () => {
        server = await startRedis(options);
      },
      stop: kill,
    },
    urlOf: (user) => server!.urlOf(user),
    edgePassword: options.passwords.edge,
  };
}

/** @param program of `replication/` */
function ownerVictim(name: string, program: string, settings: object, output: number): Victim {
  return childVictim(
    name,
    () =>
      Bun.spawn([process.execPath, join(import.meta.dir, "replication", program)], {
        stdin: new Blob([JSON.stringify(settings)]),
        stdout: output,
        stderr: output,
      }),
  );
}

function replicaVictim(
  index: number,
  file: string,
  redis: { urlOf: (user: RedisUser) => string; edgePassword: string },
  apiPublicKey: string,
  output: number,
): Victim {
  mkdirSync(dirname(file), { recursive: true });
  const passwordFile = join(folder, `password-${index}`);
  writeFileSync(passwordFile, redis.edgePassword, { mode: 0o600 });
  const url = new URL(redis.urlOf("edge"));
  url.password = "";
  const program = join(import.meta.dir, "../../edge/main.ts");
  return childVictim(`replica ${index}`, () =>
    Bun.spawn(
      [
        ...[process.execPath, program, "replica", "--redis", url.href, "--redis-password-file", passwordFile],
        ...["--file", file, `--api-public-key=${apiPublicKey}`],
      ],
      { stdin: "ignore", stdout: output, stderr: output },
    ));
}
