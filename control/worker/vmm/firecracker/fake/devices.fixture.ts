/** What the fake's requests do inside its jail, as the jailed user: files opened, sockets bound, its guest host told. */
import {
  accessSync,
  closeSync,
  constants,
  openSync,
  readFileSync,
  readSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import net from "node:net";
import { createHash, randomBytes } from "node:crypto";
import { bridgeStreams } from "./bridge.fixture.ts";
import type { GuestHost } from "./guest-host-client.fixture.ts";
import { openTap, OsError, osErrorOf } from "./system.fixture.ts";
import type { Body, Effects } from "./vmm-state.fixture.ts";

const MIB = 1_048_576;
/** What a test looks for where memory must not lie in the clear. */
export const MEMORY_MARK = "godwit-fake-guest-memory";
/** Noise that no packing makes smaller; the rest of memory was never touched. */
const MEMORY_HEAD_BYTES = 16 * MIB;
const GUEST_PORT = 10_000;
const CONNECT_LINE_BYTES_MAX = 32;
const FIRST_HOST_PORT = 1_073_741_824;

export class Devices implements Effects {
  readonly #guest: GuestHost;
  #log: number | null = null;
  #metrics: number | null = null;
  #vsock: net.Server | null = null;
  #ports = FIRST_HOST_PORT;

  constructor(guest: GuestHost) {
    this.#guest = guest;
  }

  logger(body: Body): void {
    try {
      this.#log = openNonBlocking(String(body.log_path));
    } catch (error) {
      throw new Error(`Logger error: Failed to open target file: ${osErrorOf(error)}`);
    }
  }

  metrics(body: Body): void {
    try {
      this.#metrics = openNonBlocking(String(body.metrics_path));
    } catch (error) {
      const why = osErrorOf(error);
      throw new Error(`Metrics error: Cannot initialize the metrics system due to bad user input: ${why}`);
    }
  }

  say(line: string): void {
    if (this.#log !== null) writeSync(this.#log, `${new Date().toISOString()} [fake:main] ${line}\n`);
  }

  flushMetrics(): void {
    if (this.#metrics === null) return;
    const line = {
      utc_timestamp_ms: Date.now(),
      logger: { missed_log_count: 0, missed_metrics_count: 0 },
      seccomp: { num_faults: 0 },
      uart: { rate_limiter_dropped_bytes: 0 },
      vmm: { panic_count: 0 },
    };
    writeSync(this.#metrics, `${JSON.stringify(line)}\n`);
  }

  bootSource(body: Body): void {
    mustOpen(String(body.kernel_image_path), "r", "Boot source error: The kernel file cannot be opened: ");
    mustOpen(
      String(body.initrd_path),
      "r",
      "Boot source error: The initrd file cannot be opened due to invalid path or invalid permissions. ",
    );
  }

  drive(body: Body): void {
    const path = String(body.path_on_host);
    mustOpen(
      path,
      body.is_read_only === true ? "r" : "r+",
      "Drive config error: Unable to create the virtio block device: Virtio backend error: Error manipulating the backing file: ",
      ` ${path}`,
    );
  }

  networkInterface(body: Body): void {
    this.#tap(String(body.host_dev_name), "Network config error: Could not create the network device: ");
  }

  /** Only to see that it could: the guest host holds it later, and a tap has one holder. */
  #tap(name: string, prefix: string): void {
    try {
      closeSync(openTap("/dev/net/tun", name, { header: true }));
    } catch (error) {
      const what = error instanceof OsError ? error.message : String(error);
      throw new Error(
        `${prefix}Open tap device failed: Error while creating ifreq structure: ${what}. Invalid TUN/TAP Backend provided by ${name}. Check our documentation on setting up the network devices.`,
      );
    }
  }

  async vsock(body: Body): Promise<void> {
    try {
      await this.#listen(String(body.uds_path));
    } catch (error) {
      const why = osErrorOf(error);
      throw new Error(
        `Vsock config error: Cannot create backend for vsock device: Error binding to the host-side Unix socket: ${why}`,
      );
    }
  }

  async start(configured: Map<string, Body>): Promise<void> {
    const source = configured.get("/boot-source")!;
    if (!isElf(String(source.kernel_image_path))) {
      throw new Error(
        "Start microvm error: Cannot load kernel due to invalid memory configuration or invalid kernel image: Kernel Loader: failed to load ELF kernel image",
      );
    }
    const order = [...configured.keys()].filter((path) => path.startsWith("/drives/")).join();
    if (order !== "/drives/init,/drives/image,/drives/layer,/drives/config") {
      throw new Error(`the guest would find its drives as ${order}`);
    }
    const machine = configured.get("/machine-config")!;
    const link = configured.get("/network-interfaces/eth0");
    await this.#guest.ask({
      do: "boot",
      cpus: machine.vcpu_count,
      memory_mib: machine.mem_size_mib,
      tap: link?.host_dev_name ?? null,
      mac: link?.guest_mac ?? null,
    });
  }

  async pause(): Promise<void> {
    await this.#guest.ask({ do: "pause" });
  }

  async resume(): Promise<void> {
    await this.#guest.ask({ do: "resume" });
  }

  /** Memory that nobody can forge: a mark, the container's name, noise, and for the most part nothing. */
  async create(body: Body, memoryMib: number): Promise<void> {
    const { handle } = await this.#guest.ask({ do: "hold" });
    const head = Buffer.alloc(MEMORY_HEAD_BYTES);
    head.write(`${MEMORY_MARK} ${handle}`);
    randomBytes(MEMORY_HEAD_BYTES - 512).copy(head, 512);
    const state = { handle, memory_mib: memoryMib, memory_sha256: hashOf(head), vsock: "/vsock.sock" };
    try {
      writeFileSync(String(body.snapshot_path), JSON.stringify(state), { mode: 0o600 });
    } catch (error) {
      throw new Error(
        `Create snapshot error: Cannot perform open on the snapshot backing file: ${osErrorOf(error)}`,
      );
    }
    const memory = String(body.mem_file_path);
    try {
      writeFileSync(memory, head, { mode: 0o600 });
      truncateSync(memory, memoryMib * MIB);
    } catch (error) {
      throw new Error(
        `Create snapshot error: Cannot perform open on the memory backing file: ${osErrorOf(error)}`,
      );
    }
  }

  async load(body: Body): Promise<{ readonly memoryMib: number }> {
    const state = JSON.parse(readFileSync(String(body.snapshot_path), "utf8"));
    const memory = String((body.mem_backend as Body).backend_path);
    if (statSync(memory).size !== state.memory_mib * MIB) {
      throw new Error("Failed to load guest memory: the file has another size than the state says");
    }
    const head = Buffer.alloc(MEMORY_HEAD_BYTES);
    const fd = openSync(memory, "r");
    readSync(fd, head, 0, head.length, 0);
    closeSync(fd);
    if (hashOf(head) !== state.memory_sha256) {
      throw new Error("Failed to load guest memory: it is not what was saved");
    }
    const [override] = body.network_overrides as Body[];
    if (override !== undefined) {
      this.#tap(String(override.host_dev_name), "Failed to build microVM from snapshot: ");
    }
    await this.#listen(state.vsock);
    await this.#guest.ask({ do: "load", handle: state.handle, tap: override?.host_dev_name ?? null });
    return { memoryMib: state.memory_mib };
  }

  #listen(path: string): Promise<void> {
    this.#vsock?.close();
    const server = net.createServer((socket) => this.#connect(socket));
    this.#vsock = server;
    return new Promise((resolve, reject) => {
      server.once("error", reject);
      server.listen(path, resolve);
    });
  }

  /** Reads `CONNECT PORT\n`, and nothing beyond it; hangs up where the guest does not listen. */
  #connect(front: net.Socket): void {
    front.on("error", () => {});
    let line = "";
    const look = () => {
      for (let byte = front.read(1) as Buffer | null; byte !== null; byte = front.read(1) as Buffer | null) {
        line += byte.toString("latin1");
        if (line.endsWith("\n")) {
          front.removeListener("readable", look);
          return this.#reach(front, line);
        }
        if (line.length > CONNECT_LINE_BYTES_MAX) return void front.destroy();
      }
    };
    front.on("readable", look);
  }

  #reach(front: net.Socket, line: string): void {
    if (line !== `CONNECT ${GUEST_PORT}\n`) return void front.destroy();
    const behind = net.connect("/.guest.sock");
    behind.on("error", () => front.destroy());
    behind.once("readable", () => {
      if (behind.read(1) === null) return front.destroy();
      front.write(`OK ${this.#ports++}\n`);
      bridgeStreams(front, behind);
    });
    behind.on("close", () => front.end());
    front.on("close", () => behind.destroy());
  }
}

function hashOf(bytes: Buffer): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function mustOpen(path: string, flags: "r" | "r+", prefix: string, suffix = ""): void {
  try {
    closeSync(openSync(path, flags));
  } catch (error) {
    throw new Error(`${prefix}${osErrorOf(error)}${suffix}`);
  }
}

function openNonBlocking(path: string): number {
  accessSync(path, constants.W_OK);
  return openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
}

export function isElf(path: string): boolean {
  const fd = openSync(path, "r");
  const head = Buffer.alloc(4);
  readSync(fd, head, 0, 4, 0);
  closeSync(fd);
  return head.equals(Buffer.from("\x7fELF", "latin1"));
}
