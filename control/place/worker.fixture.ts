/**
 * A worker for tests of control: the worker API over a real unix socket, every body parsed with the contract's schemas,
 * and machines that are nothing but their states. How a machine behaves is told by its image's name (`behaviours`).
 * It stands in for the real agent only here; deploy/e2e runs control against the real one.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GodwitError } from "../contract/errors.ts";
import { type MachineExit, MachineSpec, MachineState, type MachineView } from "../contract/machine.ts";
import { isSettledFor } from "../machine/reach.ts";
import { HostView, ImageRequest, OfferRequest, StopBody } from "../contract/worker-api.ts";

export const IMAGE_DIGEST = `sha256:${"ab".repeat(32)}`;

interface Behaviour {
  readonly listeners?: { address: string; port: number; pid: null; command: null }[];
  /** Ends as soon as it was started. */
  readonly exit?: Pick<MachineExit, "exit_code" | "signal" | "oom_killed" | "reason">;
  readonly neverStarts?: boolean;
}

const listens = (address: string, port: number) => [{ address, port, pid: null, command: null }];

const behaviours: Record<string, Behaviour> = {
  "test/app": { listeners: listens("0.0.0.0", 8_080) },
  "test/app6": { listeners: listens("::", 8_080) },
  "test/local": { listeners: listens("127.0.0.1", 3_000) },
  "test/deaf": { listeners: [] },
  "test/exit3": { exit: { exit_code: 3, signal: null, oom_killed: false, reason: null } },
  "test/oom": { exit: { exit_code: 137, signal: "SIGKILL", oom_killed: true, reason: null } },
  "test/panic": {
    exit: { exit_code: null, signal: null, oom_killed: false, reason: "step mounts: no /dev/vdb" },
  },
  "test/hang": { neverStarts: true },
};

export interface FixtureMachine {
  spec: MachineSpec;
  view: MachineView;
  changed: PromiseWithResolvers<void>;
}

export class FixtureWorker {
  readonly machines = new Map<string, FixtureMachine>();
  /** Every call as `METHOD path`, in order. */
  readonly calls: string[] = [];
  readonly host: HostView;
  readonly socket: string;
  /** Called before each call is answered; throw a GodwitError to answer with it, or wait to hold it. */
  before: (call: string) => void | Promise<void> = () => {};
  cost = 0.5;
  readonly #folder: string;
  #server: ReturnType<typeof Bun.serve> | null = null;

  constructor(hostId = "host-1", region = "dev") {
    this.#folder = mkdtempSync(join(tmpdir(), "godwit-worker-fixture-"));
    this.socket = join(this.#folder, "worker.sock");
    this.host = HostView.parse({
      id: hostId,
      region,
      version: "0",
      vmm: "runc",
      acceleration: "none",
      cpus: 2,
      memory_mb: 4_096,
      memory_free_mb: 4_096,
      machines: 0,
    });
    this.start();
  }

  get url(): string {
    return `unix:${this.socket}`;
  }

  start(): void {
    this.#server = Bun.serve({ unix: this.socket, fetch: (request) => this.#answer(request) });
  }

  /** As when the agent is killed: nothing listens, the machines stay. */
  async goAway(): Promise<void> {
    await this.#server?.stop(true);
    rmSync(this.socket, { force: true });
  }

  async close(): Promise<void> {
    await this.goAway();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  living(): FixtureMachine[] {
    return [...this.machines.values()].filter((machine) => machine.view.state !== "destroyed");
  }

  set(machine: FixtureMachine, change: Partial<MachineView>): MachineView {
    machine.view = { ...machine.view, ...change, updated_at_ms: Date.now() };
    machine.changed.resolve();
    machine.changed = Promise.withResolvers();
    return machine.view;
  }

  async #answer(request: Request): Promise<Response> {
    const url = new URL(request.url);
    const call = `${request.method} ${url.pathname}`;
    this.calls.push(call);
    try {
      await this.before(call);
      const text = await request.text();
      return await this.#route(call, url.searchParams, text === "" ? null : JSON.parse(text));
    } catch (error) {
      const known = error instanceof GodwitError
        ? error
        : new GodwitError("worker.broken", String(error), { fault: "us" });
      return Response.json({ error: known.toWire() }, { status: known.fault === "us" ? 500 : 400 });
    }
  }

  async #route(call: string, query: URLSearchParams, body: unknown): Promise<Response> {
    const [method, path] = call.split(" ") as [string, string];
    const [, , noun, id, verb] = path.split("/");
    if (call === "GET /v1/host") return Response.json(this.host);
    if (call === "POST /v1/offers") return this.#offer(OfferRequest.parse(body));
    if (noun === "offers" && method === "DELETE") return new Response(null, { status: 204 });
    if (call === "POST /v1/images") return this.#image(ImageRequest.parse(body).ref);
    if (call === "GET /v1/machines") {
      const machines = this.living().map((m) => m.view).filter((v) => v.app_id === query.get("app_id"));
      return Response.json({ machines });
    }
    if (method === "PUT") return Response.json(this.#create(MachineSpec.parse(body)));
    return await this.#machineCall(method, this.#machine(id ?? ""), verb ?? "", query, body);
  }

  #offer(request: OfferRequest): Response {
    const expires_at_ms = Date.now() + 10_000;
    return Response.json({
      id: `o-${request.machine_id}`,
      host_id: this.host.id,
      expires_at_ms,
      cost: this.cost,
    });
  }

  #image(ref: string): Response {
    const name = ref.split("@")[0]!.split(":")[0]!;
    if (behaviours[name] === undefined) {
      throw new GodwitError("image.not_found", `There is no image ${ref}`, { fault: "client" });
    }
    const config = {};
    return Response.json({ ref, digest: IMAGE_DIGEST, config: { ...config, ...emptyConfig }, size_bytes: 1 });
  }

  #create(spec: MachineSpec): MachineView {
    const known = this.machines.get(spec.id);
    if (known !== undefined) return known.view;
    const view: MachineView = {
      id: spec.id,
      app_id: spec.app_id,
      app_name: spec.app_name,
      org_id: spec.org_id,
      release_id: spec.release_id,
      host_id: this.host.id,
      region: this.host.region,
      state: "created",
      image: spec.image,
      guest: spec.guest,
      services: spec.services,
      address4: "172.20.16.3",
      address6: "fd00::3",
      cordoned: false,
      vmm: "runc",
      last_exit: null,
      reason: null,
      created_at_ms: Date.now(),
      updated_at_ms: Date.now(),
      started_at_ms: null,
    };
    this.machines.set(spec.id, { spec, view, changed: Promise.withResolvers() });
    return view;
  }

  #machine(id: string): FixtureMachine {
    const machine = this.machines.get(id);
    if (machine !== undefined && machine.view.state !== "destroyed") return machine;
    throw new GodwitError("machine.not_found", `There is no machine ${id} on this host`, { fault: "client" });
  }

  async #machineCall(
    method: string,
    machine: FixtureMachine,
    verb: string,
    query: URLSearchParams,
    body: unknown,
  ): Promise<Response> {
    const behaviour = behaviours[machine.spec.image.ref.split("@")[0]!.split(":")[0]!]!;
    switch (`${method} ${verb}`) {
      case "GET ":
        return Response.json(machine.view);
      case "POST suspend":
        return Response.json(this.set(machine, { state: "suspended" }));
      case "DELETE ":
        return Response.json(this.set(machine, { state: "destroyed" }));
      case "POST cordon":
      case "POST uncordon":
        return Response.json(this.set(machine, { cordoned: verb === "cordon" }));
      case "POST start":
        return Response.json(this.#start(machine, behaviour));
      case "POST stop": {
        StopBody.parse(body);
        const at_ms = Date.now();
        const last_exit = {
          exit_code: 0,
          signal: null,
          oom_killed: false,
          requested: true,
          reason: null,
          at_ms,
        };
        return Response.json(this.set(machine, { state: "stopped", last_exit, started_at_ms: null }));
      }
      case "GET wait":
        return Response.json(await this.#wait(machine, query));
      case "GET listeners":
        return Response.json({ listeners: behaviour.listeners ?? [] });
      case "GET logs":
        return Response.json({
          lines: [{
            machine: machine.view.id,
            region: "dev",
            stream: "stderr",
            at_ms: 1,
            line: "last words",
          }],
        });
    }
    throw new GodwitError("worker.unknown_call", `${method} ${verb}`, { fault: "us" });
  }

  #start(machine: FixtureMachine, behaviour: Behaviour): MachineView {
    if (machine.view.state === "started") return machine.view;
    if (behaviour.neverStarts === true) return this.set(machine, { state: "starting" });
    if (behaviour.exit === undefined) {
      return this.set(machine, { state: "started", started_at_ms: Date.now() });
    }
    const state = behaviour.exit.reason === null ? "stopped" : "failed";
    const last_exit = { ...behaviour.exit, requested: false, at_ms: Date.now() };
    // As the real one: it is taken down first, and only then known how it ended.
    setTimeout(() => this.set(machine, { state, last_exit, reason: behaviour.exit!.reason }), 20);
    return this.set(machine, { state: "stopping" });
  }

  async #wait(machine: FixtureMachine, query: URLSearchParams): Promise<MachineView> {
    const states = query.getAll("state").map((state) => MachineState.parse(state));
    const timeout = Bun.sleep(Number(query.get("timeout_s")) * 1_000).then(() => "timeout" as const);
    for (;;) {
      if (isSettledFor(machine.view.state, new Set(states))) return machine.view;
      if (await Promise.race([timeout, machine.changed.promise]) === "timeout") {
        throw new GodwitError("machine.wait_timeout", `${machine.view.id} is ${machine.view.state}`, {
          fault: "client",
          retryable: true,
        });
      }
    }
  }
}

const emptyConfig = { entrypoint: [], cmd: [], env: [], working_dir: "", user: "", stop_signal: null };
