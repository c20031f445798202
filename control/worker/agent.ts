/** The worker agent, one a host: what it opens, in which order, and how it leaves. README.md tells a machine's life. */
import { mkdir } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import type { Logger } from "pino";
import { messageOf } from "../contract/errors.ts";
import { regionStream } from "../contract/events.ts";
import type { GuestExit } from "../contract/guest-api.ts";
import type { WorkerConfig } from "../contract/process-config.ts";
import { workerApp } from "./api/app.ts";
import { edgeApp } from "./api/edge-app.ts";
import { listen } from "./api/listen.ts";
import { type Backoff, backoffMs, pause } from "./backoff.ts";
import { loadSigningKey } from "../publish/signing-key-file.ts";
import { correctClock } from "./greet.ts";
import { type Host, machineFolder, machinesFolder, publisherKeyFile } from "./host.ts";
import { keepConsolesShort } from "./consoles.ts";
import { HOUSEKEEPING_INTERVAL_MS, keepHouse } from "./housekeeping.ts";
import { openImageStore } from "./images/image-store.ts";
import { Logs } from "./logs.ts";
import { Metrics } from "./metrics.ts";
import { Network } from "./network/network.ts";
import { machineBytesPerS } from "./network/rate.ts";
import { publishHost } from "./offers.ts";
import { create } from "./operations/create.ts";
import { destroy } from "./operations/destroy.ts";
import { Engine } from "./operations/engine.ts";
import type { Boundary } from "./operations/operation.ts";
import { start } from "./operations/start.ts";
import { stop } from "./operations/stop.ts";
import { suspend } from "./operations/suspend.ts";
import { Outbox } from "./outbox.ts";
import { recover } from "./recover.ts";
import { connectLogs, connectRedis } from "./redis.ts";
import { register } from "./registration.ts";
import { Requests } from "./requests.ts";
import { Restarts } from "./restarts.ts";
import { findMachine } from "./store/machines.ts";
import { Store } from "./store/store.ts";
import { chooseDriver } from "./vmm/choose.ts";
import type { Watcher } from "./watch.ts";
import { Watchers } from "./watchers.ts";

const END_RETRY: Backoff = { firstMs: 100, capMs: 5_000 };

export interface AgentOptions {
  readonly config: WorkerConfig;
  readonly log: Logger;
  /** Tests stop the process at the boundaries of operations. */
  readonly onBoundary?: Boundary;
}

export interface Agent {
  /** Leaves: ends all waits, lets go of the VMs, which live on, and keeps what is unfinished for the next agent. */
  stop(): Promise<void>;
}

export async function startAgent({ config, log, onBoundary }: AgentOptions): Promise<Agent> {
  await mkdir(machinesFolder(config), { recursive: true, mode: 0o700 });
  await mkdir(join(config.run_folder, "machines"), { recursive: true, mode: 0o700 });
  const { driver, probe } = await chooseDriver(config);
  const store = new Store({
    file: join(config.state_folder, "worker.sqlite"),
    host_id: config.host_id,
    region: config.region,
    vmm: driver.name,
    now: Date.now,
  });
  const metrics = new Metrics();
  const key = loadSigningKey(publisherKeyFile(config));
  const sayAway = (error: Error) => log.warn({ err: error }, "redis is away");
  const stateRedis = connectRedis(config.redis_url, sayAway, {
    ...{ caFile: config.redis_ca_file, stream: regionStream(config.region) },
  });
  const logRedis = connectLogs(config.redis_url, config.redis_ca_file);
  // Made before anything can end: a machine that is adopted may do so while others still are.
  const leaving = new AbortController();
  const host = await openHost();
  const engine = new Engine({
    store,
    operations: [create(host), start(host), suspend(host), stop(host), destroy(host)],
    bootsMax: Math.max(2, availableParallelism()),
    random: Math.random,
    onBoundary,
    onFailure: (kind, machine, step, error) => {
      metrics.stepFailures.inc({ kind, step });
      log.warn({ kind, machine, step, err: error }, "a step failed");
    },
    onEnd: (kind, machine, outcome) => {
      metrics.operations.inc({ kind, outcome: outcome?.code ?? "done" });
      log.info({ kind, machine, outcome: outcome?.message ?? "done" }, "operation ended");
      followRun(machine);
    },
  });
  const requests = new Requests(host, engine);
  const restarts = new Restarts({
    host,
    requests,
    random: Math.random,
    signal: leaving.signal,
    follow: followExit,
  });
  const outbox = new Outbox({
    redis: stateRedis,
    store,
    key,
    metrics,
    random: Math.random,
    onFailure: (error) => log.warn({ reason: messageOf(error) }, "cannot publish; will try again"),
    onRepublish: (reason) => log.info({ reason }, "publishes all rows again"),
  });

  host.logs.start();
  outbox.start();
  publishHost(host);
  await host.network.prepare();
  const recovery = await recover(
    host,
    engine,
    requests,
    (machine, watcher) => {
      followExit(machine, watcher);
      if (driver.can.suspend === null) void correctClock(host, watcher);
    },
    (machineId, reason) => void tellEnd(machineId, null, null, reason),
  );
  log.info({ ...recovery, vmm: driver.name, note: probe.note }, "agent is up");
  const listener = listen(workerApp(host, requests), config.listen_socket);
  const edgeListener = config.edge_socket === undefined
    ? null
    : listen(edgeApp(requests), config.edge_socket);
  const tasks = [
    register(host, key.publicKey, Math.random, leaving.signal),
    keepHouseForever(leaving.signal),
    keepConsolesShort(
      driver.name,
      () => host.watchers.ids().map((id) => machineFolder(config, id)),
      log,
      leaving.signal,
    ),
  ];

  return {
    stop: async () => {
      leaving.abort();
      await listener.stop();
      await edgeListener?.stop();
      await engine.halt();
      host.watchers.closeAll();
      await Promise.all([...tasks, outbox.stop(), host.logs.stop()]);
      stateRedis.disconnect();
      logRedis.disconnect();
      store.close();
    },
  };

  async function openHost(): Promise<Host> {
    const images = await openImageStore({
      ...config.images,
      folder: join(config.state_folder, "images"),
      runFolder: join(config.run_folder, "images"),
    });
    const logs = new Logs({
      redis: logRedis,
      store,
      region: config.region,
      metrics,
      random: Math.random,
      onFailure: (error) => log.warn({ reason: messageOf(error) }, "cannot save log lines; will try again"),
      appOf: (machineId) => findMachine(store, machineId)?.spec.app_id ?? null,
    });
    const watchers = new Watchers({
      logsFrom: (machineId) => logs.nextSeq(machineId),
      onLine: (machineId, line) => logs.guest(machineId, line),
      onTrouble: (machine, error) => {
        metrics.guestReconnects.inc();
        log.debug({ machine, reason: messageOf(error) }, "the guest's stream broke");
      },
      random: Math.random,
    });
    const network = new Network({
      prefix: config.prefix,
      ...config.network,
      bytesPerS: machineBytesPerS(config),
    });
    return { config, store, driver, probe, network, images, watchers, logs, metrics, log };
  }

  /** After each operation: a machine that runs is followed to its end. */
  function followRun(machineId: string): void {
    if (leaving.signal.aborted || findMachine(store, machineId)?.state !== "started") return;
    const watcher = host.watchers.find(machineId);
    if (watcher !== null) followExit(machineId, watcher);
    // Its VM was found gone when it was to be suspended.
    else void requests.ended(machineId, null, "the VM was gone when it was to be suspended");
  }

  function followExit(machineId: string, watcher: Watcher): void {
    void watcher.exit.then(async (exit) => {
      if (leaving.signal.aborted || findMachine(store, machineId)?.state !== "started") return;
      const reason = exit === null ? (await watcher.gone).reason ?? "the VM ended without telling how" : null;
      await tellEnd(machineId, watcher, exit, reason);
    });
  }

  async function tellEnd(
    machineId: string,
    watcher: Watcher | null,
    exit: GuestExit | null,
    reason: string | null,
  ): Promise<void> {
    for (let tries = 1; !leaving.signal.aborted; tries++) {
      try {
        return await restarts.ended(machineId, watcher, exit, reason);
      } catch (error) {
        // A disk without room for the intent, most often. Nobody else will tell of this end: asked again until it is kept.
        log.error({ machine: machineId, err: error }, "cannot keep the end of a machine; will try again");
        await pause(backoffMs(END_RETRY, tries, Math.random), leaving.signal);
      }
    }
  }

  async function keepHouseForever(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await keepHouse(host, engine, requests);
      } catch (error) {
        // Of no machine's concern: the next round tries again.
        log.error({ err: error }, "housekeeping failed");
      }
      await pause(HOUSEKEEPING_INTERVAL_MS, signal);
    }
  }
}
