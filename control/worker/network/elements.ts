/** What the table's sets hold for each link: written at attach, found again at detach by a process that knows nothing. */
import type { LinkRequest, MachineLink } from "./link.ts";
import { MEMORY_SETS, type MemorySet } from "./ruleset.ts";

export interface Element {
  readonly set: "sources4" | "sources6" | "network_of" | "members";
  readonly link: string;
  /** As it stands in the set, in nft's syntax. */
  readonly key: string;
  readonly value?: string;
}

/** Keeps the numbers of networks away from 0, the mark of a packet that nobody has marked. */
const markBase = 0x1_0000;

export function elementsOf(link: MachineLink, request: LinkRequest): Element[] {
  const mark = String(markBase + request.orgNetwork);
  const name = `"${link.name}"`;
  return [
    { set: "sources4", link: link.name, key: `${name} . ${withoutBits(link.address4)}` },
    { set: "sources6", link: link.name, key: `${name} . ${withoutBits(link.address6)}` },
    { set: "network_of", link: link.name, key: name, value: mark },
    { set: "members", link: link.name, key: `${mark} . ${name}` },
  ];
}

/** Adding what is there already is no error, unless a map holds another value for the key. */
export function addElements(table: string, elements: readonly Element[]): string {
  return elements.map(({ set, key, value }) =>
    `add element inet ${table} ${set} { ${value === undefined ? key : `${key} : ${value}`} }\n`
  ).join("");
}

/** Only of elements that are there: a single missing one fails the whole transaction. */
export function deleteElements(table: string, elements: readonly Element[]): string {
  return elements.map(({ set, key }) => `delete element inet ${table} ${set} { ${key} }\n`).join("");
}

export interface TableContent {
  readonly elements: readonly Element[];
  readonly memory: Readonly<Record<MemorySet, ReadonlySet<string>>>;
}

/** Reads `nft -j list table`; null stands for a table that does not exist. */
export function readTable(objects: readonly Record<string, unknown>[] | null): TableContent {
  const elements: Element[] = [];
  const memory: Record<MemorySet, Set<string>> = {
    opened4: new Set(),
    opened6: new Set(),
    accept_ra2: new Set(),
  };
  for (const object of objects ?? []) {
    const set = (object.set ?? object.map) as { name: string; elem?: unknown[] } | undefined;
    for (const entry of set?.elem ?? []) {
      const name = set?.name;
      if (MEMORY_SETS.some((known) => known === name)) memory[name as MemorySet].add(String(entry));
      else if (name === "network_of") {
        const [link, mark] = entry as [string, number];
        elements.push({ set: name, link, key: `"${link}"`, value: String(mark) });
      } else if (name === "members") {
        const [mark, link] = (entry as { concat: [number, string] }).concat;
        elements.push({ set: name, link, key: `${mark} . "${link}"` });
      } else if (name === "sources4" || name === "sources6") {
        const [link, address] = (entry as { concat: [string, string] }).concat;
        elements.push({ set: name, link, key: `"${link}" . ${address}` });
      }
    }
  }
  return { elements, memory };
}

function withoutBits(address: string): string {
  return address.slice(0, address.indexOf("/"));
}
