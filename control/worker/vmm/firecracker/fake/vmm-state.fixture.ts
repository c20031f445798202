/**
 * What Firecracker answers to whom, when (v1.16.1: rpc_interface.rs, parsed_request.rs): its states, its order, its words.
 * No devices here: what a request does to the world is left to `Effects`, which throws Firecracker's words where it fails.
 */
import { OPERATIONS } from "../api-types.ts";
import type { Swagger } from "./swagger.fixture.ts";

export type Body = Record<string, unknown>;

export interface Effects {
  logger(body: Body): void;
  metrics(body: Body): void;
  bootSource(body: Body): void;
  drive(body: Body): void;
  networkInterface(body: Body): void;
  vsock(body: Body): Promise<void>;
  start(configured: Map<string, Body>): Promise<void>;
  pause(): Promise<void>;
  resume(): Promise<void>;
  create(body: Body, memoryMib: number): Promise<void>;
  load(body: Body): Promise<{ readonly memoryMib: number }>;
  flushMetrics(): void;
}

export interface Answer {
  readonly status: number;
  readonly body: unknown;
  /** Firecracker ends itself after this answer. */
  readonly fatal?: boolean;
}

const POST_BOOT = "The requested operation is not supported after starting the microVM.";
const PRE_BOOT = "The requested operation is not supported before starting the microVM.";
const OK: Answer = { status: 204, body: undefined };

export class VmmState {
  state: "Not started" | "Running" | "Paused" = "Not started";
  /** Something that a snapshot would bring along was configured. */
  #bootPath = false;
  #hasMetrics = false;
  #memoryMib = 128;
  readonly #configured = new Map<string, Body>();
  readonly #id: string;
  readonly #version: string;
  readonly #effects: Effects;
  readonly #swagger: Swagger | null;

  constructor(id: string, version: string, effects: Effects, swagger: Swagger | null) {
    this.#id = id;
    this.#version = version;
    this.#effects = effects;
    this.#swagger = swagger;
  }

  async handle(method: string, path: string, text: string): Promise<Answer> {
    if (method === "GET") return this.#get(path, text);
    const found = Object.entries(OPERATIONS).find(([, operation]) =>
      operation.method === method && matches(operation.path, path)
    );
    if (found === undefined) {
      return refusal(`Invalid request method and/or path: ${method} ${path.split("/")[1] ?? ""}.`);
    }
    if (text === "") return refusal(`Empty ${method} request.`);
    const [name, operation] = found;
    let body: Body;
    try {
      body = JSON.parse(text) as Body;
    } catch (error) {
      return unreadable(String(error));
    }
    const fault = this.#swagger === null
      ? zodFault(operation.body.safeParse(body))
      : this.#swagger.fault(operation.definition, body);
    if (fault !== null) return unreadable(fault);
    const id = path.split("/")[2];
    if (operation.path.includes("{") && !Object.values(body).includes(id)) {
      return refusal(`The id from the path [${id}] does not match the id from the body!`);
    }
    try {
      return await this.#do(name as keyof typeof OPERATIONS, path, body);
    } catch (error) {
      return error instanceof Fatal
        ? { ...refusal(error.message), fatal: true }
        : refusal((error as Error).message);
    }
  }

  #get(path: string, text: string): Answer {
    if (text !== "") return refusal("GET request cannot have a body.");
    if (path === "/") {
      const { state } = this;
      return ok({ id: this.#id, state, vmm_version: this.#version, app_name: "Firecracker" });
    }
    if (path === "/version") return ok({ firecracker_version: this.#version });
    if (path === "/machine-config") return ok(this.#configured.get("/machine-config") ?? {});
    return refusal(`Invalid request method and/or path: GET ${path.split("/")[1] ?? ""}.`);
  }

  async #do(name: keyof typeof OPERATIONS, path: string, body: Body): Promise<Answer> {
    const started = this.state !== "Not started";
    switch (name) {
      case "vm":
        if (!started) return refusal(PRE_BOOT);
        await (body.state === "Paused" ? this.#effects.pause() : this.#effects.resume());
        this.state = body.state === "Paused" ? "Paused" : "Running";
        return OK;
      case "snapshotCreate":
        if (!started) return refusal(PRE_BOOT);
        if (this.state !== "Paused") {
          return refusal(
            "Create snapshot error: Cannot save the microVM state: Operation not allowed: save/restore unavailable while running",
          );
        }
        await this.#effects.create(body, this.#memoryMib);
        return OK;
      case "balloonUpdate":
        if (!started) return refusal(PRE_BOOT);
        return this.#configured.has("/balloon")
          ? OK
          : refusal("Balloon update error: Failed perform action on device: Device not found");
      case "action":
        return await this.#act(String(body.action_type), started);
      case "snapshotLoad":
        return started ? refusal(POST_BOOT) : await this.#load(body);
      case "drive":
      case "networkInterface":
        if (started) return refusal("PCI is not enabled");
        break;
      default:
        if (started) return refusal(POST_BOOT);
    }
    return await this.#configure(name, path, body);
  }

  async #configure(name: keyof typeof OPERATIONS, path: string, body: Body): Promise<Answer> {
    if (!["logger", "metrics", "serial"].includes(name)) this.#bootPath = true;
    if (name === "logger") this.#effects.logger(body);
    if (name === "metrics") {
      if (this.#hasMetrics) {
        return refusal(
          "Metrics error: Cannot initialize the metrics system due to bad user input: Reinitialization of metrics not allowed.",
        );
      }
      this.#effects.metrics(body);
      this.#hasMetrics = true;
    }
    if (name === "machineConfig") {
      const vcpus = Number(body.vcpu_count);
      if (vcpus < 1 || vcpus > 32) {
        return refusal(
          "Machine config error: The number of vCPUs must be greater than 0, less than 32 and must be 1 or an even number if SMT is enabled.",
        );
      }
      if (body.mem_size_mib === 0) {
        return refusal(
          "Machine config error: The memory size (MiB) is either 0, or not a multiple of the configured page size.",
        );
      }
      this.#memoryMib = Number(body.mem_size_mib);
    }
    if (name === "bootSource") this.#effects.bootSource(body);
    if (name === "drive") this.#effects.drive(body);
    if (name === "networkInterface") this.#effects.networkInterface(body);
    if (name === "vsock") await this.#effects.vsock(body);
    this.#configured.set(path, body);
    return OK;
  }

  async #act(action: string, started: boolean): Promise<Answer> {
    if (action === "FlushMetrics") {
      if (!started) return refusal(PRE_BOOT);
      this.#effects.flushMetrics();
      return OK;
    }
    if (started) return refusal(POST_BOOT);
    if (!this.#configured.has("/boot-source")) {
      return refusal("Start microvm error: Cannot start microvm without kernel configuration.");
    }
    await this.#effects.start(this.#configured);
    this.state = "Running";
    return OK;
  }

  async #load(body: Body): Promise<Answer> {
    if (this.#bootPath) {
      return refusal(
        "Load snapshot error: Loading a microVM snapshot not allowed after configuring boot-specific resources.",
      );
    }
    let loaded: { readonly memoryMib: number };
    try {
      loaded = await this.#effects.load(body);
      if (body.resume_vm === true) await this.#effects.resume();
    } catch (error) {
      throw new Fatal(`Load snapshot error: Failed to restore from snapshot: ${(error as Error).message}`);
    }
    this.#memoryMib = loaded.memoryMib;
    this.#configured.set("/machine-config", { mem_size_mib: loaded.memoryMib });
    this.state = body.resume_vm === true ? "Running" : "Paused";
    return OK;
  }
}

/** A process whose restore failed is too dirty to go on. */
class Fatal extends Error {}

function matches(template: string, path: string): boolean {
  const [wanted, given] = [template.split("/"), path.split("/")];
  return wanted.length === given.length &&
    wanted.every((part, at) => part === given[at] || part.startsWith("{") && /^\w+$/.test(given[at] ?? ""));
}

function ok(body: unknown): Answer {
  return { status: 200, body };
}

function refusal(message: string): Answer {
  return { status: 400, body: { fault_message: message } };
}

function unreadable(why: string): Answer {
  return refusal(`An error occurred when deserializing the json body of a request: ${why}.`);
}

function zodFault(result: { success: boolean; error?: { message: string } | undefined }): string | null {
  return result.success ? null : result.error?.message ?? "invalid";
}
