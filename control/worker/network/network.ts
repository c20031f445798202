/** The network of one worker's machines. */
import { linkOf, type LinkRequest, type MachineLink } from "./link.ts";

export type { LinkRequest, MachineLink } from "./link.ts";

export interface NetworkOptions {
  /** `gw` and six hexadecimal digits; begins the name of every link and is the name of the nftables table. */
  readonly prefix: string;
  /** IPv4 range that the machines' /31 links are cut from, `172.20.16.0/20`. */
  readonly range4: string;
  /** IPv6 /48, `fd12:3456:789a::/48`. */
  readonly range6: string;
  /** What machines shall ask for names; outside the host. */
  readonly nameservers: readonly string[];
  /** Name of the network namespace that stands for the host (ip-netns(8)); tests. */
  readonly netns?: string;
}

export class Network {
  readonly #options: NetworkOptions;

  constructor(options: NetworkOptions) {
    this.#options = options;
  }

  /** Makes the table and opens the uplinks. Safe at any time; does not disturb links that are there. */
  prepare(): Promise<void> {
    return Promise.reject(new Error("not there yet"));
  }

  /** Makes the machine's link, or leaves it as it is where it stands already. */
  attach(_request: LinkRequest): Promise<MachineLink> {
    return Promise.reject(new Error("not there yet"));
  }

  /** Removes a link and all that was allowed for it. Does nothing where there is none. */
  detach(_index: number): Promise<void> {
    return Promise.reject(new Error("not there yet"));
  }

  /** Indexes of which anything is found on this host, ascending. */
  list(): Promise<number[]> {
    return Promise.reject(new Error("not there yet"));
  }

  /** What `attach` would answer. Pure. */
  addressesOf(request: LinkRequest): MachineLink {
    return linkOf(this.#options, request);
  }

  /** Removes every link and the table, and puts back what was changed on interfaces that are not ours. */
  removeAll(): Promise<void> {
    return Promise.reject(new Error("not there yet"));
  }
}
