/** Step hostname: the machine's name, /etc/hostname, /etc/hosts and /etc/resolv.conf. */
import { lstatSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import type { RunConfig } from "../../control/contract/run-config.ts";
import { setHostname } from "../system/machine.ts";

export function nameMachine(config: RunConfig): void {
  // A container may not set its name; its driver did.
  if (hostname() !== config.hostname) setHostname(config.hostname);
  mkdirSync("/etc", { recursive: true });
  replaceFile("/etc/hostname", `${config.hostname}\n`);
  replaceFile("/etc/hosts", hostsOf(config));
  if (config.network !== null && config.network.nameservers.length > 0) {
    replaceFile("/etc/resolv.conf", resolvConfOf(config.network));
  }
}

export function hostsOf(
  { hostname, network, hosts }: Pick<RunConfig, "hostname" | "network" | "hosts">,
): string {
  const own = [network?.address4, network?.address6].flatMap((address) =>
    address == null ? [] : [{ address: address.split("/")[0]!, names: [hostname] }]
  );
  const lines = [
    { address: "127.0.0.1", names: ["localhost"] },
    { address: "::1", names: ["localhost", "ip6-localhost", "ip6-loopback"] },
    { address: "ff02::1", names: ["ip6-allnodes"] },
    { address: "ff02::2", names: ["ip6-allrouters"] },
    ...(own.length > 0 ? own : [{ address: "127.0.1.1", names: [hostname] }]),
    ...hosts,
  ];
  return lines.map(({ address, names }) => `${address}\t${names.join(" ")}\n`).join("");
}

export function resolvConfOf(
  { nameservers, searches, options = [] }: Pick<
    NonNullable<RunConfig["network"]>,
    "nameservers" | "searches" | "options"
  >,
): string {
  const lines = nameservers.map((address) => `nameserver ${address}\n`);
  if (searches.length > 0) lines.push(`search ${searches.join(" ")}\n`);
  if (options.length > 0) lines.push(`options ${options.join(" ")}\n`);
  return lines.join("");
}

/** Images ship /etc/resolv.conf as a link into a /run of another machine: a link is replaced, not followed. */
function replaceFile(file: string, content: string): void {
  if (lstatSync(file, { throwIfNoEntry: false })?.isSymbolicLink()) rmSync(file);
  writeFileSync(file, content, { mode: 0o644 });
}
