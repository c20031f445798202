/** The backend and every proxy, each once with its access log and once without; all stopped by handle at the end. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GodwitError } from "../../../control/contract/errors.ts";
import { type Backend, startBackend } from "./backend.ts";
import { caddyProxy } from "./caddy-proxy.ts";
import { type Certificate, makeCertificate } from "./certificate.ts";
import { godwitProxy } from "./godwit-proxy.ts";
import { haproxyProxy } from "./haproxy-proxy.ts";
import { nginxProxy } from "./nginx-proxy.ts";
import { type PlanLaunch, type Proxy, type ProxyName, startProxy } from "./proxy.ts";

const LAUNCHES: Record<ProxyName, PlanLaunch> = {
  godwit: (plan) => godwitProxy(plan),
  nginx: nginxProxy,
  haproxy: haproxyProxy,
  caddy: caddyProxy,
};

export interface TestbedOptions {
  readonly hosts: number;
  /** Proxies on one core, clients and backend on another. */
  readonly pin: boolean;
  /** The edge runs with the profiler. */
  readonly profile?: boolean;
}

export class Testbed {
  readonly folder: string;
  readonly clientPrefix: readonly string[];
  readonly #proxyPrefix: readonly string[];
  readonly #options: TestbedOptions;
  readonly #certificate: Certificate;
  readonly #backend: Backend;
  readonly #proxies: Proxy[] = [];
  #started = 0;

  private constructor(
    folder: string,
    options: TestbedOptions,
    certificate: Certificate,
    clientPrefix: readonly string[],
    backend: Backend,
  ) {
    this.folder = folder;
    this.#options = options;
    this.#certificate = certificate;
    this.#backend = backend;
    this.clientPrefix = clientPrefix;
    this.#proxyPrefix = options.pin ? ["taskset", "-c", "0"] : [];
  }

  static async open(options: TestbedOptions): Promise<Testbed> {
    const folder = mkdtempSync(join(tmpdir(), "godwit-bench-relay-"));
    const clientPrefix = options.pin ? ["taskset", "-c", "1"] : [];
    try {
      const backend = await startBackend(folder, clientPrefix);
      return new Testbed(folder, options, makeCertificate(folder), clientPrefix, backend);
    } catch (error) {
      rmSync(folder, { recursive: true, force: true });
      throw error;
    }
  }

  async start(name: ProxyName, logs: boolean): Promise<Proxy> {
    const folder = join(this.folder, `${name}-${this.#started++}`);
    mkdirSync(folder);
    const { hosts, profile = false } = this.#options;
    const launch: PlanLaunch = profile ? (plan) => godwitProxy(plan, true) : LAUNCHES[name];
    const proxy = await startProxy(name, launch, {
      folder,
      logs,
      hosts,
      backend: this.#backend,
      certificate: this.#certificate,
      prefix: this.#proxyPrefix,
    });
    this.#proxies.push(proxy);
    return proxy;
  }

  async close(): Promise<void> {
    await Promise.all(this.#proxies.map((proxy) => proxy.stop()));
    await this.#backend.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Runs `work` in a testbed that is gone afterwards, ctrl-c included. */
export async function withTestbed<T>(
  options: TestbedOptions,
  work: (testbed: Testbed) => Promise<T>,
): Promise<T> {
  const interrupted = Promise.withResolvers<never>();
  const onSignal = () =>
    interrupted.reject(new GodwitError("bench.interrupted", "Interrupted", { fault: "client" }));
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, onSignal);
  const testbed = await Testbed.open(options);
  try {
    return await Promise.race([work(testbed), interrupted.promise]);
  } finally {
    process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
    await testbed.close();
  }
}
