/**
 * A host for tests: a real agent process with a real driver (runc unless its configuration says qemu), network, image store and Redis, in folders and under
 * kernel names of its own. `remains` says what of it is left on this machine.
 */
import { Database } from "bun:sqlite";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { testGuest } from "../../deploy/images/testbed.ts";
import { testRedis } from "../../deploy/servers/testbed.ts";
import { isNewer, regionStream, StateEvent } from "../contract/events.ts";
import { readEntry } from "../contract/stream-entry.ts";
import { z } from "zod";
import { GodwitError, WireError } from "../contract/errors.ts";
import { MachineSpec, type MachineView } from "../contract/machine.ts";
import { newMachineId, newRowId } from "../contract/names.ts";
import { WorkerConfig } from "../contract/process-config.ts";
import { writeImage } from "./images/oci-layout.fixture.ts";
import { remainsOf } from "./host.ts";
import { Network } from "./network/network.ts";
import { machineBytesPerS } from "./network/rate.ts";
import type { VmmDriver } from "./vmm/driver.ts";
import { readLiveRecord } from "./vmm/process-record.ts";
import { QemuDriver } from "./vmm/qemu/qemu-driver.ts";
import { qemuPaths } from "./vmm/qemu/qemu-paths.ts";
import { RuncDriver } from "./vmm/runc/runc-driver.ts";
import { runcPaths } from "./vmm/runc/runc-paths.ts";

const UP_WAIT_MS = 30_000;
const PUBLISHED_WAIT_MS = 10_000;
const letters = "abcdefghijklmnopqrstuvwxyz";

export interface AgentProcess {
  readonly pid: number;
  readonly exited: Promise<number>;
  /** All that it logged so far. */
  log(): string;
}

export class TestWorker {
  readonly folder: string;
  readonly config: WorkerConfig;
  readonly #configFile: string;
  #agent: (AgentProcess & { kill(signal: NodeJS.Signals): void }) | null = null;
  #starts = 0;
  image: { ref: string; digest: string } | null = null;

  private constructor(folder: string, config: WorkerConfig) {
    this.folder = folder;
    this.config = config;
    this.#configFile = join(folder, "worker.json");
    writeFileSync(this.#configFile, JSON.stringify(config), { mode: 0o600 });
  }

  /** `links`: for how many machines the host has addresses. */
  static async create(
    change: Partial<WorkerConfig> = {},
    { links = 128 }: { links?: 1 | 128 } = {},
  ): Promise<TestWorker> {
    const folder = mkdtempSync(join(tmpdir(), "gwt-"));
    const bytes = crypto.getRandomValues(new Uint8Array(8));
    const hex = Buffer.from(bytes).toString("hex");
    const guest = await testGuest();
    const config = WorkerConfig.parse({
      schema: 1,
      host_id: `host-${hex.slice(0, 6)}`,
      region: [...bytes.slice(0, 3)].map((byte) => letters[byte % 26]).join(""),
      state_folder: join(folder, "state"),
      run_folder: join(folder, "run"),
      prefix: `gw${hex.slice(0, 6)}`,
      listen_socket: join(folder, "run", "w.sock"),
      edge_socket: join(folder, "run", "e.sock"),
      network: {
        range4: `172.${20 + bytes[3]! % 12}.${bytes[4]}.0/${links === 1 ? 31 : 24}`,
        range6: `fd${hex.slice(0, 2)}:${hex.slice(2, 6)}:${hex.slice(6, 10)}::/48`.replace(
          /:0+(?=[0-9a-f])/g,
          ":",
        ),
        nameservers: [],
      },
      vmm: "runc",
      guest: {
        kernel_file: guest.kernelFile,
        initramfs_file: guest.initramfsFile,
        init_drive_file: guest.initDriveFile,
        init_folder: guest.initFolder,
      },
      images: {
        auth_file: null,
        insecure_registries: [],
        cache_mb_max: 1_024,
        image_mb_max: 256,
        files_max: 1_000,
      },
      redis_url: await testRedis("worker"),
      // Nobody listens there: an agent must live without its control.
      control_url: "http://127.0.0.1:9",
      node_token: "0123456789abcdef0123456789abcdef",
      memory_mb_max: 16_384,
      ...change,
    });
    return new TestWorker(folder, config);
  }

  /** Starts an agent, to be this host's, and waits until it serves. */
  async start(): Promise<AgentProcess> {
    const agent = this.launch();
    this.#agent = agent;
    const timer = setTimeout(() => agent.kill("SIGKILL"), UP_WAIT_MS);
    const isUp = await agent.up;
    clearTimeout(timer);
    if (!isUp) throw new Error(`the agent did not come up: ${agent.log()}`);
    return agent;
  }

  /** An agent's process, whatever becomes of it. */
  launch(): AgentProcess & { kill(signal: NodeJS.Signals): void; readonly up: Promise<boolean> } {
    const logFile = join(this.folder, `agent-${++this.#starts}.log`);
    const child = Bun.spawn({
      cmd: [process.execPath, join(import.meta.dir, "agent.fixture.ts"), this.#configFile],
      stdin: "ignore",
      stdout: "pipe",
      stderr: Bun.file(logFile),
    });
    return {
      pid: child.pid,
      exited: child.exited,
      kill: (signal) => child.kill(signal),
      log: () => (existsSync(logFile) ? readFileSync(logFile, "utf8") : ""),
      up: child.stdout.getReader().read().then(({ value }) => value !== undefined),
    };
  }

  /** The agent is to kill itself at `KIND:STEP:WHEN`. Resolves with its status when it has. */
  killedAt(boundary: string): Promise<number> {
    writeFileSync(join(this.folder, "kill-at"), boundary);
    return this.#agent!.exited;
  }

  /** The agent that serves, started where there is none. */
  async serving(): Promise<AgentProcess> {
    const { code } = this.#agent === null ? { code: 0 } : await Promise.race([
      this.#agent.exited.then((code) => ({ code })),
      Promise.resolve({ code: null }),
    ]);
    return code === null ? this.#agent! : await this.start();
  }

  /** Resolves when the agent has logged the text. */
  async logged(agent: AgentProcess, text: string): Promise<void> {
    const deadline = Date.now() + UP_WAIT_MS;
    while (!agent.log().includes(text)) {
      if (Date.now() > deadline) throw new Error(`the agent never logged "${text}": ${agent.log()}`);
      await Bun.sleep(10);
    }
  }

  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    this.#agent?.kill(signal);
    await this.#agent?.exited;
    this.#agent = null;
  }

  /** Calls the worker API. @throws GodwitError as the worker answers it; other errors where it was cut off. */
  async call<T>(method: string, path: string, body?: unknown): Promise<T> {
    const answer = await fetch(`http://worker${path}`, {
      method,
      unix: this.config.listen_socket,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    if (answer.ok) return (text === "" ? null : JSON.parse(text)) as T;
    throw GodwitError.fromWire(WireError.parse((JSON.parse(text) as { error: unknown }).error));
  }

  /** Puts a small image of busybox at the worker. */
  async pull(config: Record<string, unknown> = { Cmd: ["/bin/sh", "-c", "echo hello; exec sleep 1000"] }) {
    const folder = join(this.folder, `layout-${newRowId()}`);
    const busybox = new Uint8Array(await Bun.file("/bin/busybox").arrayBuffer());
    await writeImage(folder, "latest", {
      layers: [[
        { name: "bin/", type: "directory", mode: 0o755 },
        { name: "tmp/", type: "directory", mode: 0o777 },
        { name: "bin/busybox", content: busybox, mode: 0o755 },
        ...["sh", "sleep", "httpd", "cat", "kill", "wc"].map((name) => ({
          name: `bin/${name}`,
          type: "symlink" as const,
          linkname: "busybox",
        })),
      ]],
      config,
    });
    const answer = await this.call<{ ref: string; digest: string }>("POST", "/v1/images", {
      ref: `oci:${folder}:latest`,
    });
    return this.image = { ref: answer.ref, digest: answer.digest };
  }

  spec(change: Partial<MachineSpec> = {}): MachineSpec {
    return MachineSpec.parse({
      schema: 1,
      id: newMachineId(),
      org_id: newRowId(),
      app_id: newRowId(),
      app_name: "test",
      release_id: newRowId(),
      region: this.config.region,
      image: this.image,
      guest: {},
      env: { CANARY: "canary-in-env" },
      services: [{ internal_port: 8080, ports: [{ port: 80 }] }],
      stop: { signal: "SIGTERM", timeout_s: 2 },
      restart: { policy: "no" },
      layer_mb: 64,
      ...change,
    });
  }

  wait(id: string, ...states: string[]): Promise<MachineView> {
    const query = states.map((state) => `state=${state}`).join("&");
    return this.call("GET", `/v1/machines/${id}/wait?${query}&timeout_s=50`);
  }

  /** The newest event of each key on this worker's stream. */
  async published(): Promise<Map<string, StateEvent>> {
    const redis = new Redis(await testRedis("admin"));
    const newest = new Map<string, StateEvent>();
    for (const [, fields] of await redis.xrange(regionStream(this.config.region), "-", "+")) {
      const entry = readEntry(fields);
      if (entry?.kind !== "batch") continue;
      for (const event of z.array(StateEvent).parse(JSON.parse(entry.payload))) {
        const before = newest.get(event.key);
        if (before === undefined || isNewer(event.version, before.version)) newest.set(event.key, event);
      }
    }
    redis.disconnect();
    return newest;
  }

  /** The newest event of a key once it satisfies `accept`; the one that is there after PUBLISHED_WAIT_MS otherwise. */
  async publishedEventually(key: string, accept: (event: StateEvent | undefined) => boolean) {
    const deadline = Date.now() + PUBLISHED_WAIT_MS;
    for (;;) {
      const event = (await this.published()).get(key);
      if (accept(event) || Date.now() > deadline) return event;
      await Bun.sleep(10);
    }
  }

  /** What a machine has left on this host: processes, mounts, links, namespaces, cgroups, folders. */
  async remains(machineId: string): Promise<string[]> {
    const { state_folder, run_folder, prefix } = this.config;
    const found: string[] = [];
    for (const part of [state_folder, run_folder]) {
      if (existsSync(join(part, "machines", machineId))) found.push(join(part, "machines", machineId));
    }
    const mounts = readFileSync("/proc/self/mountinfo", "utf8").split("\n");
    found.push(...mounts.filter((line) => line.includes(machineId)));
    if ((await this.#driver().list(prefix)).includes(machineId)) found.push("a VM");
    for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
      if (commandOf(pid).includes(machineId)) found.push(`process ${pid}: ${commandOf(pid)}`);
    }
    return found;
  }

  /** The VM's process as the driver recorded it, null where it does not live. */
  processOf(machineId: string): { pid: number; start_time: string } | null {
    const remains = remainsOf(this.config, machineId);
    const { record } = this.config.vmm === "qemu" ? qemuPaths(remains) : runcPaths(remains);
    const found = readLiveRecord(record);
    return found === null ? null : { pid: found.pid, start_time: found.start_time };
  }

  /** Ends the VM behind the agent's back. */
  async endVm(machineId: string): Promise<void> {
    await this.#driver().clean(remainsOf(this.config, machineId));
  }

  /** The worker's database, while no agent has it. */
  withDatabase<T>(use: (db: Database) => T): T {
    const db = new Database(join(this.config.state_folder, "worker.sqlite"));
    try {
      return use(db);
    } finally {
      db.close();
    }
  }

  links(): Promise<number[]> {
    return this.#network().list();
  }

  async remove(): Promise<void> {
    await this.kill();
    const driver = this.#driver();
    for (const machineId of await driver.list(this.config.prefix)) {
      await driver.clean(remainsOf(this.config, machineId));
    }
    await this.#network().removeAll();
    rmSync(this.folder, { recursive: true, force: true });
  }

  #driver(): VmmDriver {
    return this.config.vmm === "qemu" ? new QemuDriver(this.config.guest) : new RuncDriver(this.config.guest);
  }

  #network(): Network {
    return new Network({
      prefix: this.config.prefix,
      ...this.config.network,
      bytesPerS: machineBytesPerS(this.config),
    });
  }
}

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
  } catch {
    return ""; // it ended while we looked
  }
}
