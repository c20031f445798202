/**
 * The network of one worker's machines: a link each, with no bridge, and one nftables table that says who may talk to
 * whom. See README.md for a packet's way.
 *
 * Nothing is remembered outside the kernel: links carry their machine's id as alias, the table's sets hold the rest, so
 * an agent that was killed at any point finds what it left by looking. Each call can be repeated.
 */
import { addElements, deleteElements, elementsOf, readTable, type TableContent } from "./elements.ts";
import { linkSettings, type Memory, planClosing, planOpening } from "./forwarding.ts";
import { createLink, LINES_OF_SETUP, removeLink, saysMissing, setUpLink } from "./ip-batch.ts";
import { CommandError, Kernel } from "./kernel.ts";
import { Batch, BATCH_MAX, Lane } from "./lane.ts";
import { indexOf, linkName, linkOf, type LinkRequest, type MachineLink } from "./link.ts";
import { shapeLink } from "./rate.ts";
import { hasForceForwarding, readForwarding } from "./read-forwarding.ts";
import { MEMORY_SETS, type MemorySet, ruleset } from "./ruleset.ts";

export type { LinkRequest, MachineLink } from "./link.ts";

export interface NetworkOptions {
  /** `gw` and six hexadecimal digits; begins the name of every link and is the name of the nftables table. */
  readonly prefix: string;
  /** IPv4 range that the machines' /31 links are cut from, `172.20.16.0/20`. */
  readonly range4: string;
  /** IPv6 /48, `fd12:3456:789a::/48`. */
  readonly range6: string;
  /** What machines ask for names; addresses outside the host. */
  readonly nameservers: readonly string[];
  /** How fast each machine's link is, each way. */
  readonly bytesPerS: number;
  /** Name of the network namespace that stands for the host (ip-netns(8)); tests. */
  readonly netns?: string;
}

interface Plan {
  readonly request: LinkRequest;
  readonly link: MachineLink;
}

interface HostLink {
  /** null: half made. */
  readonly machineId: string | null;
  readonly kind: "tap" | "veth";
}

/** What of `ip -json -details link show` matters here. */
interface IpLink {
  readonly ifname: string;
  readonly ifalias?: string;
  readonly linkinfo?: { readonly info_kind?: string };
}

/** One for each plan: what went wrong with it, or null. */
type Errors = (Error | null)[];

/** Tables of stacks, ours and others'. */
const tablePattern = /^gw[0-9a-f]{6}$/;

export class Network {
  readonly #options: NetworkOptions;
  readonly #kernel: Kernel;
  readonly #lane = new Lane();
  readonly #attaching = new Batch<LinkRequest>(this.#lane, (requests) => this.#attachMany(requests));
  readonly #forbidding = new Batch<string>(this.#lane, (names) => this.#forbidMany(names));
  /** Deleting a device waits for the kernel's RCU grace periods, 20 to 50 ms; no attach shall wait for that. */
  readonly #removing = new Batch<string>(new Lane(), async (names) => {
    await this.#removeLinks(names);
    return names.map(() => null);
  });
  /** The detaches under way by name; they never reject. */
  readonly #detaching = new Map<string, Promise<void>>();
  #hasForceForwarding: boolean | null = null;

  constructor(options: NetworkOptions, kernel = new Kernel(options.netns)) {
    this.#options = options;
    this.#kernel = kernel;
  }

  /**
   * Makes the table and opens the uplinks. Safe at any time and cheap to repeat: it does not disturb links that are
   * there, and it is how the worker follows a default route that has moved to another interface.
   */
  prepare(): Promise<void> {
    return this.#lane.run(async () => {
      await this.#kernel.nft(ruleset(this.#options));
      const host = await readForwarding(this.#kernel, this.#options.prefix);
      const [ours, others] = await Promise.all([this.#readTable(), this.#readOtherMemories()]);
      const { remember, settings } = planOpening(host, ours.memory, union(others));
      const { prefix } = this.#options;
      const memory = MEMORY_SETS.map((set) =>
        `flush set inet ${prefix} ${set}\n` +
        [...remember[set]].map((name) => `add element inet ${prefix} ${set} { "${name}" }\n`).join("")
      );
      await this.#kernel.nft(memory.join(""));
      await this.#kernel.writeSysctls(settings);
    });
  }

  /**
   * Makes the machine's link, or leaves it as it is where it stands already. After a failure `detach` cleans up. Waits
   * for a detach of the same index that is under way: the sweep may be removing what nobody owned a moment ago.
   */
  async attach(request: LinkRequest): Promise<MachineLink> {
    const link = this.addressesOf(request);
    await this.#detaching.get(link.name);
    await this.#attaching.add(request);
    return link;
  }

  /** Removes a link and all that was allowed for it. Does nothing where there is none. Not while it is being attached. */
  async detach(index: number): Promise<void> {
    const name = linkName(this.#options.prefix, index);
    const gone = this.#forbidding.add(name).then(() => this.#removing.add(name));
    const ended = gone.catch(() => {}).then(() => { // Its failure is told to who asked for it, below.
      if (this.#detaching.get(name) === ended) this.#detaching.delete(name);
    });
    this.#detaching.set(name, ended);
    await gone;
  }

  /** Indexes of which anything is found on this host, ascending. */
  async list(): Promise<number[]> {
    const [links, table] = await Promise.all([this.#links(), this.#readTable()]);
    const names = [...links.keys(), ...table.elements.map((element) => element.link)];
    const indexes = new Set(names.map((name) => indexOf(this.#options.prefix, name)));
    return [...indexes].filter((index) => index !== null).sort((a, b) => a - b);
  }

  /** What `attach` would answer. Pure. */
  addressesOf(request: LinkRequest): MachineLink {
    return linkOf(this.#options, request);
  }

  /** Removes every link and the table, and puts back what was changed on interfaces that are not ours. */
  removeAll(): Promise<void> {
    return this.#lane.run(async () => {
      const { prefix } = this.#options;
      await this.#removeLinks([...(await this.#links()).keys()]);
      const [ours, others] = await Promise.all([this.#readTable(), this.#readOtherMemories()]);
      const host = await readForwarding(this.#kernel, this.#options.prefix);
      const closing = planClosing(host, ours.memory, union(others));
      // An interface may have gone since it was opened.
      const values = await Promise.all(closing.map(([name]) => this.#kernel.readSysctl(name)));
      await this.#kernel.writeSysctls(closing.filter((_, i) => values[i] !== null));
      // Last, because it holds the memory of what there is to put back. `add` makes deleting a missing one no error.
      await this.#kernel.nft(`add table inet ${prefix}\ndelete table inet ${prefix}\n`);
    });
  }

  async #attachMany(requests: readonly LinkRequest[]): Promise<Errors> {
    const plans = requests.map((request) => ({ request, link: this.addressesOf(request) }));
    const [created, allowed] = await Promise.all([this.#create(plans), this.#allow(plans)]);
    const errors = plans.map((_, i) => created.errors[i] ?? allowed[i] ?? null);
    for (const i of created.replaced) errors[i] ??= await failureOf(this.#allowAnew(plans[i]!));
    const going = plans.map((_, i) => i).filter((i) => errors[i] === null);
    const done = await this.#setUp(going.map((i) => plans[i]!));
    going.forEach((i, position) => errors[i] = done[position] ?? null);
    return errors;
  }

  /** Creates the links that are missing; one that another machine has left behind is removed first. */
  async #create(plans: readonly Plan[]): Promise<{ errors: Errors; replaced: number[] }> {
    const errors: Errors = plans.map(() => null);
    const replaced: number[] = [];
    const lines = plans.map(({ link, request }) => createLink(link, request.kind));
    const failures = await this.#kernel.ipBatch(lines);
    const links = failures.length === 0 ? new Map<string, HostLink>() : await this.#links();
    for (const { line, complaint } of failures) {
      const { link, request } = plans[line - 1]!;
      const found = links.get(link.name);
      const isSame = found?.kind === request.kind && found.machineId === request.machineId;
      if (isSame) continue;
      const command = lines[line - 1]!;
      if (found === undefined) errors[line - 1] = new CommandError(["ip", command], complaint);
      else {
        replaced.push(line - 1);
        errors[line - 1] = await failureOf(this.#replace(link.name, command));
      }
    }
    return { errors, replaced };
  }

  async #replace(name: string, creation: string): Promise<void> {
    await this.#removeLinks([name]);
    const [failure] = await this.#kernel.ipBatch([creation]);
    if (failure !== undefined) throw new CommandError(["ip", creation], failure.complaint);
  }

  /**
   * Adds the links' elements in one transaction. Where that is refused, one by one: another machine has left elements
   * behind under the same name, or one of them is at fault and shall not take the others with it.
   */
  async #allow(plans: readonly Plan[]): Promise<Errors> {
    const { prefix } = this.#options;
    const wanted = plans.map(({ link, request }) => elementsOf(link, request));
    if (await failureOf(this.#kernel.nft(addElements(prefix, wanted.flat()))) === null) {
      return plans.map(() => null);
    }
    const errors: Errors = [];
    for (const plan of plans) errors.push(await failureOf(this.#allowAnew(plan)));
    return errors;
  }

  /** Puts this machine's elements in the place of all that the table holds for the link's name; atomic. */
  async #allowAnew({ link, request }: Plan): Promise<void> {
    const { prefix } = this.#options;
    const stale = (await this.#readTable()).elements.filter((element) => element.link === link.name);
    await this.#kernel.nft(deleteElements(prefix, stale) + addElements(prefix, elementsOf(link, request)));
  }

  async #setUp(plans: readonly Plan[]): Promise<Errors> {
    const errors: Errors = plans.map(() => null);
    const lines = plans.flatMap(({ link, request }) => setUpLink(link, request.machineId));
    const shapes = plans.map(({ link }) => shapeLink(link.name, this.#options.bytesPerS));
    const [setUp, shaped] = await Promise.all([this.#kernel.ipBatch(lines), this.#kernel.tcBatch(shapes)]);
    for (const { line, complaint } of setUp) {
      errors[Math.floor((line - 1) / LINES_OF_SETUP)] ??= new CommandError(
        ["ip", lines[line - 1]!],
        complaint,
      );
    }
    for (const { line, complaint } of shaped) {
      errors[line - 1] ??= new CommandError(["tc", shapes[line - 1]!], complaint);
    }
    const canForce = await this.#knowsForceForwarding();
    const settings = plans.map(({ link }) => linkSettings(link.name, canForce));
    const ready = settings.filter((_, i) => errors[i] === null);
    if (await failureOf(this.#kernel.writeSysctls(ready.flat())) === null) return errors;
    for (const [i, setting] of settings.entries()) {
      errors[i] ??= await failureOf(this.#kernel.writeSysctls(setting));
    }
    return errors;
  }

  async #forbidMany(names: readonly string[]): Promise<Errors> {
    const { prefix } = this.#options;
    const gone = new Set(names);
    const stale = (await this.#readTable()).elements.filter((element) => gone.has(element.link));
    if (stale.length > 0) await this.#kernel.nft(deleteElements(prefix, stale));
    return names.map(() => null);
  }

  async #removeLinks(names: readonly string[]): Promise<void> {
    for (let start = 0; start < names.length; start += BATCH_MAX) {
      const lines = names.slice(start, start + BATCH_MAX).map(removeLink);
      for (const { line, complaint } of await this.#kernel.ipBatch(lines)) {
        if (!saysMissing(complaint)) throw new CommandError(["ip", lines[line - 1]!], complaint);
      }
    }
  }

  /** This stack's links by name. */
  async #links(): Promise<Map<string, HostLink>> {
    const links = new Map<string, HostLink>();
    for (const entry of await this.#kernel.ipJson("-details", "link", "show")) {
      const { ifname, ifalias, linkinfo } = entry as IpLink;
      if (indexOf(this.#options.prefix, ifname) === null) continue;
      links.set(ifname, { machineId: ifalias ?? null, kind: linkinfo?.info_kind === "tun" ? "tap" : "veth" });
    }
    return links;
  }

  async #readTable(prefix = this.#options.prefix): Promise<TableContent> {
    return readTable(await this.#kernel.nftJson("list", "table", "inet", prefix));
  }

  async #readOtherMemories(): Promise<Memory[]> {
    const tables = await this.#kernel.nftJson("list", "tables") ?? [];
    const names = tables.flatMap(({ table }) => (table as { name: string } | undefined)?.name ?? []);
    const others = names.filter((name) => tablePattern.test(name) && name !== this.#options.prefix);
    return await Promise.all(others.map(async (name) => (await this.#readTable(name)).memory));
  }

  async #knowsForceForwarding(): Promise<boolean> {
    return this.#hasForceForwarding ??= await hasForceForwarding(this.#kernel);
  }
}

/**
 * Removes what a stack has on this host by its prefix alone: for whoever takes a stack down without its worker. It must
 * come before anything that deletes the table, which holds the memory of what there is to put back.
 */
export async function removeNetwork(prefix: string): Promise<void> {
  await new Network({ prefix, range4: "", range6: "", nameservers: [], bytesPerS: 0 }).removeAll();
}

function union(memories: readonly Memory[]): Memory {
  const all = (set: MemorySet) => new Set(memories.flatMap((memory) => [...memory[set]]));
  return { opened4: all("opened4"), opened6: all("opened6"), accept_ra2: all("accept_ra2") };
}

async function failureOf(work: Promise<unknown>): Promise<Error | null> {
  try {
    await work;
    return null;
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}
