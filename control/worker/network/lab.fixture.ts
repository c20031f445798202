/** Network namespaces that stand for a host, for the internet beyond it and for machines on its links. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { MachineLink } from "./link.ts";

const httpWaitMs = 5_000;
/** Writes the body, or exits 1 where there is no answer within a second. */
const getProgram = `const url = process.argv.at(-1);
try { process.stdout.write(await (await fetch(url, { signal: AbortSignal.timeout(1_000) })).text()); }
catch { process.exit(1); }`;

export class Lab {
  readonly host: string;
  readonly internet: string;
  /** Of the host on its way out, and of the internet's end of that way. */
  readonly uplink = { name: "up0", host4: "198.51.100.2", far4: "198.51.100.1", host6: "2001:db8::2" };
  readonly #id = `gwlab${crypto.randomUUID().slice(0, 6)}`;
  readonly #namespaces: string[] = [];
  readonly #folder = mkdtempSync(join(tmpdir(), "godwit-network-"));
  readonly #servers: Bun.Subprocess[] = [];

  constructor() {
    this.host = this.#namespace("h");
    this.internet = this.#namespace("i");
    run(["ip", "-n", this.host, "link", "add", "up0", "type", "veth", "peer", "name", "far0"]);
    run(["ip", "-n", this.host, "link", "set", "far0", "netns", this.internet]);
    this.#addresses(this.internet, "far0", "198.51.100.1/24", "2001:db8::1/64");
    this.#addresses(this.host, "up0", "198.51.100.2/24", "2001:db8::2/64");
    run(["ip", "-n", this.host, "route", "add", "default", "via", "198.51.100.1"]);
    run(["ip", "-n", this.host, "-6", "route", "add", "default", "via", "2001:db8::1"]);
  }

  /** Moves the other end of a veth link into a namespace of its own and sets it up as vm-init would. */
  machine(link: MachineLink): string {
    const name = this.#namespace(`m${this.#namespaces.length}`);
    run(["ip", "-n", this.host, "link", "set", `${link.name}p`, "netns", name]);
    run(["ip", "-n", name, "link", "set", `${link.name}p`, "name", link.interface]);
    this.#addresses(name, link.interface, link.address4, link.address6);
    run(["ip", "-n", name, "route", "add", "default", "via", link.gateway4]);
    run(["ip", "-n", name, "-6", "route", "add", "default", "via", link.gateway6, "dev", link.interface]);
    return name;
  }

  /** An HTTP server on all addresses of the namespace; answers `content`. */
  async serve(namespace: string, port: number, content: string): Promise<void> {
    const folder = mkdtempSync(join(this.#folder, "www-"));
    writeFileSync(join(folder, "index.html"), content);
    const argv = ["busybox", "httpd", "-f", "-p", `[::]:${port}`, "-h", folder];
    this.#servers.push(
      Bun.spawn(["ip", "netns", "exec", namespace, ...argv], { stdio: ["ignore", "ignore", "ignore"] }),
    );
    const deadline = Date.now() + httpWaitMs;
    while (this.get(namespace, `http://127.0.0.1:${port}/`) !== content) {
      if (Date.now() > deadline) throw new Error(`no HTTP server in ${namespace}`);
    }
  }

  /** The body, or null where the other side cannot be reached. */
  get(namespace: string, url: string): string | null {
    const { exitCode, stdout } = inside(namespace, [process.execPath, "-e", getProgram, url]);
    return exitCode === 0 ? stdout.toString() : null;
  }

  pings(namespace: string, address: string, from?: string): boolean {
    const source = from === undefined ? [] : ["-I", from];
    return inside(namespace, ["busybox", "ping", "-c", "1", "-W", "1", ...source, address]).exitCode === 0;
  }

  sysctl(namespace: string, name: string): string {
    return run(["ip", "netns", "exec", namespace, "cat", `/proc/sys/${name}`]).trim();
  }

  async close(): Promise<void> {
    for (const server of this.#servers) server.kill("SIGKILL");
    await Promise.all(this.#servers.map((server) => server.exited));
    for (const name of this.#namespaces) run(["ip", "netns", "del", name]);
    rmSync(this.#folder, { recursive: true });
  }

  #namespace(name: string): string {
    const full = `${this.#id}${name}`;
    run(["ip", "netns", "add", full]);
    this.#namespaces.push(full);
    run(["ip", "-n", full, "link", "set", "lo", "up"]);
    return full;
  }

  #addresses(namespace: string, device: string, address4: string, address6: string): void {
    run(["ip", "-n", namespace, "address", "add", address4, "dev", device]);
    run(["ip", "-n", namespace, "address", "add", address6, "dev", device, "nodad"]);
    run(["ip", "-n", namespace, "link", "set", device, "up"]);
  }
}

export function inside(namespace: string, argv: string[]) {
  return Bun.spawnSync(["ip", "netns", "exec", namespace, ...argv], { stdin: "ignore" });
}

export function run(argv: string[]): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync(argv, { stdin: "ignore" });
  if (exitCode !== 0) throw new Error(`${argv.join(" ")}: ${stderr.toString().trim()}`);
  return stdout.toString();
}
