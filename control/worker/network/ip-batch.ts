/**
 * The commands of ip-batch that make one link, and what ip(8) says when some of a batch fail. The machine's id becomes
 * the link's alias, and that goes last: a link without it is known to be half made.
 */
import { GATEWAY6, hostMac, type LinkRequest, type MachineLink } from "./link.ts";

export interface IpFailure {
  /** From 1. */
  readonly line: number;
  readonly complaint: string;
}

/** The one line that cannot be repeated: it complains when the link exists. */
export function createLink(link: MachineLink, kind: LinkRequest["kind"]): string {
  const { name, mac, mtu } = link;
  return kind === "tap"
    ? `tuntap add dev ${name} mode tap`
    : `link add name ${name} mtu ${mtu} type veth peer name ${name}p address ${mac} mtu ${mtu}`;
}

/** The same number of lines for every link: LINES_OF_SETUP. */
export function setUpLink(link: MachineLink, machineId: string): string[] {
  const { name, mac, mtu, gateway4, address4, address6 } = link;
  return [
    // Without addrgenmode none the host would announce itself with a second link-local address and ask for routers.
    `link set dev ${name} address ${hostMac(machineId)} mtu ${mtu} addrgenmode none up`,
    `address replace ${gateway4}/31 dev ${name}`,
    `address replace ${GATEWAY6}/64 dev ${name} nodad`,
    `route replace ${address6} dev ${name}`,
    // Known, so that the first packet to a machine that wakes need not ask for it and wait for its answer.
    ...[address4, address6].map((address) =>
      `neighbour replace ${address.slice(0, address.indexOf("/"))} lladdr ${mac} dev ${name}`
    ),
    `link set dev ${name} alias ${machineId}`,
  ];
}

export const LINES_OF_SETUP = 7;

export function removeLink(name: string): string {
  return `link delete dev ${name}`;
}

/** ip says why, possibly over several lines, and then `Command failed -:LINE`. */
export function parseIpFailures(stderr: string): IpFailure[] {
  const failures: IpFailure[] = [];
  let complaint: string[] = [];
  for (const text of stderr.split("\n")) {
    const failed = /^Command failed -:(\d+)$/.exec(text);
    if (failed === null) {
      if (text !== "") complaint.push(text);
      continue;
    }
    failures.push({ line: Number(failed[1]), complaint: complaint.join(" ") });
    complaint = [];
  }
  return failures;
}

export function saysMissing(complaint: string): boolean {
  return complaint.includes("Cannot find device");
}
