/**
 * The stack's one nftables table. Links are told by their names, which begin with the stack's prefix: a link that no set
 * knows can do nothing at all, so every gap between two steps of an attach or a detach is closed, not open. Attach and
 * detach add and delete elements of the sets; no rule is ever written for a machine.
 *
 * Two machines may talk when their links have the same network number. nftables cannot compare two look-ups, so the
 * sender's number goes into the packet's mark for the length of one look-up with the receiver's link (`members`). This
 * is asked of every packet, established or not: when a destroyed machine's IPv4 address has gone to another
 * organisation, a connection that was allowed before must not live on.
 */
import { parseRange4 } from "./link.ts";
import { GodwitError } from "../../contract/errors.ts";
import { tooFast } from "./rate.ts";

export interface RulesetOptions {
  readonly prefix: string;
  readonly range4: string;
  readonly range6: string;
  readonly nameservers: readonly string[];
  /** What each link may send. */
  readonly bytesPerS: number;
}

/** Beside the machine's own network: where clouds keep the host's credentials. */
const metadata4 = "169.254.0.0/16";
const metadata6 = "fd00:ec2::254";

/** Interfaces whose forwarding was switched on by a stack; the sets are the memory that `removeAll` needs. */
export const MEMORY_SETS = ["opened4", "opened6", "accept_ra2"] as const;
export type MemorySet = (typeof MEMORY_SETS)[number];

/** Makes the table, or brings the rules of one that exists up to date and leaves its elements alone; atomic. */
export function ruleset(options: RulesetOptions): string {
  const { prefix, range4, range6 } = options;
  parseRange4(range4);
  const link = `"${prefix}t*"`;
  return `add table inet ${prefix}
flush table inet ${prefix}
table inet ${prefix} {
  set sources4 { type ifname . ipv4_addr; }
  set sources6 { type ifname . ipv6_addr; }
  map network_of { type ifname : mark; }
  set members { type mark . ifname; }
${MEMORY_SETS.map((name) => `  set ${name} { type ifname; }\n`).join("")}
  set sending { type ifname; size 65535; flags dynamic, timeout; timeout 1m; }
  counter too_fast {}
  counter spoofed {}
  counter foreign {}
  counter to_host {}

  chain prerouting {
    type filter hook prerouting priority raw; policy accept;
    iifname ${link} goto from_link
  }
  chain from_link {
    ${tooFast(options.bytesPerS)} counter name too_fast drop
    iifname . ip saddr @sources4 accept
    iifname . ip6 saddr @sources6 accept
    ip6 saddr { ::, fe80::/10 } icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255 accept
    ip6 saddr fe80::/10 ip6 daddr fe80::1 icmpv6 type echo-request accept
    icmpv6 type { mld-listener-report, mld2-listener-report, nd-router-solicit } drop
    counter name spoofed drop
  }

  chain input {
    type filter hook input priority filter; policy accept;
    iifname ${link} goto into_host
  }
  chain into_host {
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
    ct state established,related accept
    ip daddr ${range4} icmp type echo-request accept
    ip6 daddr fe80::1 icmpv6 type echo-request accept
    counter name to_host reject with icmpx admin-prohibited
  }

  chain forward {
    type filter hook forward priority filter; policy accept;
    iifname ${link} oifname ${link} goto between_links
    oifname ${link} goto into_link
    iifname ${link} goto out_of_link
    iifname @opened4 meta nfproto ipv4 oifname != "gw*" goto not_a_router
    iifname @opened6 meta nfproto ipv6 oifname != "gw*" goto not_a_router
  }
  chain between_links {
    meta mark set iifname map @network_of
    meta mark . oifname @members meta mark set 0 accept
    counter name foreign reject with icmpx admin-prohibited
  }
  chain into_link {
    ct state established,related accept
    counter name foreign drop
  }
  chain out_of_link {
    ip daddr ${range4} reject with icmpx admin-prohibited
    ip6 daddr ${range6} reject with icmpx admin-prohibited
${nameserverRules(options.nameservers)}    ip daddr ${metadata4} reject with icmpx admin-prohibited
    ip6 daddr ${metadata6} reject with icmpx admin-prohibited
    tcp flags syn / syn,rst tcp option maxseg size set rt mtu
  }
  chain not_a_router {
    ct state established,related accept
    ct status dnat accept
    drop
  }

  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    iifname ${link} oifname != ${link} ip saddr ${range4} masquerade
    iifname ${link} oifname != ${link} ip6 saddr ${range6} masquerade
  }
}
`;
}

/** Some clouds' resolvers lie in the range that is closed for its credentials. */
function nameserverRules(nameservers: readonly string[]): string {
  return nameservers.map((address) => {
    if (!/^[0-9a-f.:]+$/i.test(address)) {
      throw new GodwitError("network.invalid_nameserver", `Cannot use ${address} as a nameserver`, {
        fault: "us",
        hint: "network.nameservers holds IP addresses",
      });
    }
    return `    ${
      address.includes(":") ? "ip6" : "ip"
    } daddr ${address} meta l4proto { tcp, udp } th dport 53 accept\n`;
  }).join("");
}
