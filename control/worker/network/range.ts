/**
 * Which private ranges a stack uses: by the hash of its home, so that they stay the same over restarts and that two
 * stacks on one host differ; the next free one where something on the host has the first choice already.
 */
import { GodwitError } from "../../contract/errors.ts";
import { formatAddress4 } from "./link.ts";

/** RFC 1918's middle range, of which home and office networks use the least. */
const pool = { base: 0xac100000, bits: 12 };
const rangeBits = 20;
const rangeSize = 2 ** (32 - rangeBits);
const rangesInPool = 2 ** (rangeBits - pool.bits);

/**
 * @param homeHash at least 16 hexadecimal digits
 * @param takenRoutes IPv4 destinations in use on this host, `192.0.2.0/24` or `192.0.2.1`; `default` counts for nothing
 */
export function chooseRanges(
  homeHash: string,
  takenRoutes: readonly string[],
): { range4: string; range6: string } {
  const taken = takenRoutes.filter((route) => /^\d+\.\d+\.\d+\.\d+(\/\d+)?$/.test(route)).map(spanOf);
  const first = Number.parseInt(homeHash.slice(-6), 16) % rangesInPool;
  for (let tried = 0; tried < rangesInPool; tried++) {
    const base = pool.base + ((first + tried) % rangesInPool) * rangeSize;
    if (taken.some((span) => span.first < base + rangeSize && base <= span.last)) continue;
    return { range4: `${formatAddress4(base)}/${rangeBits}`, range6: uniqueLocal(homeHash) };
  }
  throw new GodwitError(
    "network.no_free_range",
    "Cannot choose addresses for machines: every /20 of 172.16.0.0/12 overlaps a route of this host",
    {
      fault: "us",
      hint: "name a free IPv4 range of your own in the worker's configuration (network.range4)",
    },
  );
}

/** IPv4 destinations of all routing tables of this host, as `chooseRanges` takes them. */
export async function takenRoutes(): Promise<string[]> {
  const child = Bun.spawn(["ip", "-j", "-4", "route", "show", "table", "all"], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [output, complaint, status] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (status !== 0) {
    throw new GodwitError("network.command_failed", `Cannot read this host's routes: ${complaint.trim()}`, {
      fault: "us",
      retryable: true,
    });
  }
  return (JSON.parse(output || "[]") as { dst?: string }[]).flatMap((route) => route.dst ?? []);
}

function spanOf(route: string): { first: number; last: number } {
  const [address, bits] = route.split("/");
  const value = address!.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
  return { first: value, last: value + 2 ** (32 - Number(bits ?? 32)) - 1 };
}

/** RFC 4193: fd, then 40 bits that are unlikely to meet another's. */
function uniqueLocal(homeHash: string): string {
  const groups = `fd${homeHash.slice(0, 10)}`.match(/.{4}/g) ?? [];
  return `${groups.map((group) => Number.parseInt(group, 16).toString(16)).join(":")}::/48`;
}
