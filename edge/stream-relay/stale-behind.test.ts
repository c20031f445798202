/** A replica whose Redis answers well and hears nothing new, because the relay that fills it is cut off: it says so. */
import { afterEach, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { readExposition, valueOf } from "../admin/exposition.fixture.ts";
import { until } from "../edge.fixture.ts";
import { Cleanups, TestPublisher } from "../replica/replica.fixture.ts";
import type { Replica } from "../replica/replica.ts";
import { replicaMetrics } from "../replicate/replica-metrics.ts";
import { replicaPage } from "../replicate/replica-pages.ts";
import { statusOf } from "../workers/open-replica.ts";
import { SetBackRedis, WAIT_MS } from "./relay.fixture.ts";

const program = new URL("../main.ts", import.meta.url).pathname;
const DIGEST_MS = 100;
const SILENT_AFTER_MS = 1_500;
/** From the bound to being seen, on a machine with other work. */
const SEEN_WITHIN_MS = 5_000;
/** Of each owner: more than twice the bound. */
const QUIET_DIGESTS = 40;
const cleanups = new Cleanups();
afterEach(() => cleanups.run(), 60_000);

function passwordFile(folder: string, name: string, url: string): [bareUrl: string, file: string] {
  const at = new URL(url), file = join(folder, name);
  writeFileSync(file, at.password, { mode: 0o600 });
  at.password = "";
  return [at.href, file];
}

/** A relay in a process of its own, to be held up and killed. */
function relayProcess(upstream: SetBackRedis, regional: SetBackRedis) {
  const folder = cleanups.folder();
  const [from, fromFile] = passwordFile(folder, "from", upstream.edgeUrl);
  const [to, toFile] = passwordFile(folder, "to", regional.relayUrl);
  const argv = [
    ...[process.execPath, program, "relay-stream", "--from", from, "--from-password-file", fromFile],
    ...["--to", to, "--to-password-file", toFile],
  ];
  let child: Bun.Subprocess | null = null;
  const kill = async () => {
    child?.kill("SIGKILL");
    await child?.exited;
  };
  cleanups.add(kill);
  return {
    begin: () => void (child = Bun.spawn(argv, { stdin: "ignore", stdout: "ignore", stderr: "ignore" })),
    signal: (name: NodeJS.Signals) => child?.kill(name),
    kill,
  };
}

/** Owners that change nothing and say so now and then. */
function keepDigesting(...owners: TestPublisher[]): void {
  let isOver = false;
  const digesting = (async () => {
    while (!isOver) {
      // While their Redis is away they wait for it.
      for (const owner of owners) await owner.digest().catch(() => {});
      await Bun.sleep(DIGEST_MS);
    }
  })();
  cleanups.add(async () => {
    isOver = true;
    await digesting;
  });
}

test(
  "a replica behind a relay that is cut off calls itself stale, and one of a quiet system does not",
  async () => {
    const [upstream, regional] = [await SetBackRedis.start(cleanups), await SetBackRedis.start(cleanups)];
    const api = new TestPublisher(upstream.admin, "api"),
      worker = new TestPublisher(upstream.admin, "worker:h1");
    const { owner, key } = worker;
    await api.publish("publishers", owner, { owner, public_key: key.publicKey });
    await api.hostname("a.test");
    await worker.host();
    const relay = relayProcess(upstream, regional);
    relay.begin();
    const { replica } = cleanups.follow({
      ...{
        file: join(cleanups.folder(), "r.sqlite"),
        url: regional.edgeUrl,
        apiPublicKey: api.key.publicKey,
      },
      tuning: { silentAfterMs: SILENT_AFTER_MS },
    });
    keepDigesting(api, worker);
    const isFresh = () => replica.status().silent_ms !== null && !replica.status().stale;
    await until(isFresh, WAIT_MS);

    const compared = replica.status().digests.compared;
    await until(() => {
      expect(replica.status().stale).toBe(false);
      return replica.status().digests.compared > compared + 2 * QUIET_DIGESTS;
    }, WAIT_MS);

    relay.signal("SIGSTOP");
    await saysStale(replica);
    relay.signal("SIGCONT");
    await until(isFresh, WAIT_MS);

    await relay.kill();
    await saysStale(replica);
    relay.begin();
    await until(isFresh, WAIT_MS);

    await upstream.kill();
    await saysStale(replica);
    await upstream.begin();
    await until(isFresh, WAIT_MS);
    expect(figureOf(replica, "godwit_replica_stale")).toBe(0);
    expect(replica.status()).toMatchObject({ incidents_count: 0, reconnects: 0, digests: { differing: 0 } });
  },
  120_000,
);

async function saysStale(replica: Replica): Promise<void> {
  await until(() => replica.status().stale, WAIT_MS);
  const { connected, stale_ms, behind_ms, silent_ms, silent_after_ms } = replica.status();
  expect({ connected, silent_after_ms }).toEqual({ connected: true, silent_after_ms: SILENT_AFTER_MS });
  // Its own Redis is not what is silent.
  expect(Math.max(stale_ms!, behind_ms!)).toBeLessThan(SEEN_WITHIN_MS);
  expect(silent_ms!).toBeGreaterThan(SILENT_AFTER_MS);
  expect(silent_ms!).toBeLessThan(SILENT_AFTER_MS + SEEN_WITHIN_MS);
  expect(figureOf(replica, "godwit_replica_stale")).toBe(1);
  expect(figureOf(replica, "godwit_replica_silent_ms")).toBeGreaterThan(SILENT_AFTER_MS);
  const page = replicaPage("GET", "/healthz", {
    status: () => statusOf(replica, null, null),
    caughtUp: () => true,
  });
  expect(JSON.parse(String(page.body))).toMatchObject({ status: "degraded" });
}

function figureOf(replica: Replica, name: string): number | undefined {
  return valueOf(readExposition(replicaMetrics(statusOf(replica, null, null))), name);
}
