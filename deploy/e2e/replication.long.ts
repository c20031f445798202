/**
 * Chaos on replication alone: Redis, publishers and replicators are killed or paused at random while host names come and
 * go. At the end every replica holds just what Postgres holds, which is read here with plain SQL on both sides and with
 * none of the code that replicates. Runs in `bun run check --long`; GODWIT_CHAOS_SEED repeats a run, GODWIT_CHAOS_S sets
 * its length.
 */
import { afterAll, expect, test } from "bun:test";
import { Database } from "bun:sqlite";
import { mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { newRowId } from "../../control/contract/names.ts";
import { newSigningKeyPem, signingKey } from "../../control/contract/signing.ts";
import { announceApp, announceHostname } from "../../control/publish/announce.ts";
import { insertApp } from "../../control/store/apps.ts";
import { Store } from "../../control/store/database.ts";
import { insertHostname } from "../../control/store/hostnames.ts";
import { migrate } from "../../control/store/migrate.ts";
import { ensureOrganization } from "../../control/store/organizations.ts";
import { seededRandom } from "../bench/seeded-random.ts";
import { freePort, newPassword } from "../servers/child.ts";
import { type RedisServer, startRedis } from "../servers/redis.ts";
import { testDatabase } from "../servers/testbed.ts";
import { childVictim, type Victim } from "./replication/victims.ts";

const LENGTH_S = Number(process.env.GODWIT_CHAOS_S ?? 600);
const SEED = Number(process.env.GODWIT_CHAOS_SEED ?? crypto.getRandomValues(new Uint32Array(1))[0]);
const PUBLISHERS = 2;
const REPLICAS = 4;
/** Host names that come and go; the more, the fewer changes hit the same key. */
const NAMES = 2_000;
const CHANGE_INTERVAL_MS = 10;
const ROUND_MS_MAX = 3_000;
const PAUSE_MS_MAX = 4_000;
/** How long after the last fault everybody may take to agree: the minute. */
const AGREE_MS_MAX = 60_000;

const folder = mkdtempSync(join(tmpdir(), "godwit-replication-"));
const victims: Victim[] = [];
let store: Store | null = null;
afterAll(async () => {
  for (const victim of victims) {
    victim.goOn();
    await victim.stop();
  }
  await store?.close();
  rmSync(folder, { recursive: true, force: true });
}, 60_000);

test(
  `replication with seed ${SEED} for ${LENGTH_S} s of faults: every replica ends equal to Postgres`,
  async () => {
    const random = seededRandom(SEED);
    const databaseUrl = await testDatabase();
    store = new Store(databaseUrl);
    await migrate(store);
    const source = store;
    const redis = await redisVictim();
    victims.push(redis.victim);
    await redis.victim.start();
    const keyPem = newSigningKeyPem();
    const output = openSync(join(folder, "said.log"), "a");
    for (let i = 0; i < PUBLISHERS; i++) {
      victims.push(publisherVictim(i, { databaseUrl, redisUrl: redis.urlOf("api"), keyPem }, output));
    }
    const replicaFiles = Array.from(
      { length: REPLICAS },
      (_, i) => join(folder, `replica-${i}`, "replica.sqlite"),
    );
    replicaFiles.forEach((file, i) =>
      victims.push(replicaVictim(i, file, redis, signingKey(keyPem).publicKey, output))
    );
    for (const victim of victims.slice(1)) await victim.start();

    const organization = await source.read((sql) => ensureOrganization(sql, "personal"));
    const appId = newRowId();
    await source.transaction(async (tx) => {
      await insertApp(tx, { id: appId, orgId: organization.id, name: "chaos" });
      await announceApp(tx, appId);
    });
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
      const victim = victims[Math.floor(random() * victims.length)]!;
      if (random() < 0.5) {
        console.log(`fault ${faults}: kill -9 ${victim.name}`);
        await victim.kill();
        await Bun.sleep(random() * ROUND_MS_MAX);
        await victim.start();
      } else {
        const pauseMs = Math.round(random() * PAUSE_MS_MAX);
        console.log(`fault ${faults}: pause ${victim.name} for ${pauseMs} ms`);
        victim.pause();
        await Bun.sleep(pauseMs);
        victim.goOn();
      }
      await Bun.sleep(random() * ROUND_MS_MAX);
    }
    writing.abort();
    await writer;

    const wanted = await namesInPostgres(source);
    const agreeBy = performance.now() + AGREE_MS_MAX;
    for (const file of replicaFiles) {
      let found: string[] = [];
      for (;;) {
        found = namesInReplica(file);
        if (found.length === wanted.length && found.every((name, i) => name === wanted[i])) break;
        if (performance.now() > agreeBy) break;
        await Bun.sleep(100);
      }
      expect({ file, names: found }).toEqual({ file, names: wanted });
    }
    console.log(
      `${changes} changes, ${faults} faults, ${wanted.length} names in ${REPLICAS} replicas, all equal`,
    );
    expect(wanted.length).toBeGreaterThan(0);
  },
  LENGTH_S * 1_000 + 300_000,
);

async function namesInPostgres(from: Store): Promise<string[]> {
  const rows = await from.read((sql) => sql`SELECT hostname, app_id FROM hostnames`);
  return rows.map((row: { hostname: string; app_id: string }) => `${row.hostname} ${row.app_id}`).sort();
}

/** Read as any program would; a file that is being replaced is asked again. */
function namesInReplica(file: string): string[] {
  try {
    const database = new Database(file, { readonly: true });
    try {
      const rows = database.query<{ row: string }, []>("SELECT row FROM hostnames WHERE deleted = 0").all();
      return rows.map(({ row }) => {
        const { hostname, app_id } = JSON.parse(row) as { hostname: string; app_id: string };
        return `${hostname} ${app_id}`;
      }).sort();
    } finally {
      database.close();
    }
  } catch (error) {
    return [String(error)];
  }
}

type RedisUser = "admin" | "api" | "edge";

async function redisVictim(): Promise<
  { victim: Victim; urlOf: (user: RedisUser) => string; password: (user: RedisUser) => string }
> {
  const options = {
    folder: join(folder, "redis"),
    port: await freePort(),
    passwords: { admin: newPassword(), api: newPassword(), worker: newPassword(), edge: newPassword() },
    logFile: join(folder, "redis.log"),
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
    urlOf: (user) => `redis://${user}:${options.passwords[user]}@127.0.0.1:${options.port}/0`,
    password: (user) => options.passwords[user],
  };
}

function publisherVictim(index: number, settings: Record<string, string>, output: number): Victim {
  const program = join(import.meta.dir, "replication/publisher-main.ts");
  return childVictim(`publisher ${index}`, () =>
    Bun.spawn([process.execPath, program], {
      stdin: new Blob([JSON.stringify(settings)]),
      stdout: output,
      stderr: output,
    }));
}

function replicaVictim(
  index: number,
  file: string,
  redis: { urlOf: (user: RedisUser) => string; password: (user: RedisUser) => string },
  apiPublicKey: string,
  output: number,
): Victim {
  mkdirSync(dirname(file), { recursive: true });
  const passwordFile = join(folder, `password-${index}`);
  writeFileSync(passwordFile, redis.password("edge"), { mode: 0o600 });
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
