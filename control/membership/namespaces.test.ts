/** Five hosts in network namespaces on one bridge, an agent's process in each; one host's cable is pulled, and put back. */
import { afterAll, expect, test } from "bun:test";
import { Fleet } from "./fleet.fixture.ts";

const HOSTS = 5;
/** It takes about 1.2 s here; a machine that does something else meanwhile takes longer. */
const DEAD_MS_MAX = 8_000;
const name = (part: string) => `gwm${tag}${part}`;
const tag = crypto.randomUUID().slice(0, 6);
const made: string[] = [];

function ip(...argv: string[]): { ok: boolean; said: string } {
  const { exitCode, stderr } = Bun.spawnSync(["ip", ...argv]);
  return { ok: exitCode === 0, said: stderr.toString().trim() };
}
function must(...argv: string[]): void {
  const { ok, said } = ip(...argv);
  if (!ok) throw new Error(`ip ${argv.join(" ")}: ${said}`);
}
function namespace(part: string): { ok: boolean; said: string } {
  const added = ip("netns", "add", name(part));
  if (added.ok) made.push(name(part));
  return added;
}
const why = process.getuid?.() !== 0
  ? "needs root"
  : Bun.which("ip") === null
  ? "iproute2 is not installed"
  : ((added) => added.ok ? null : `no network namespaces here: ${added.said}`)(namespace("sw"));
const fleet = new Fleet();

afterAll(async () => {
  await fleet.stop();
  for (const each of made) ip("netns", "del", each);
});

test.skipIf(why !== null)(
  `a host whose cable is pulled is dead to all others soon, and alive when it is back${
    why === null ? "" : ` (skipped: ${why})`
  }`,
  async () => {
    const bridge = name("sw");
    must("-n", bridge, "link", "add", "br0", "type", "bridge");
    must("-n", bridge, "link", "set", "br0", "up");
    const seeds = [{ address: "10.77.0.1", port: 7946 }, { address: "10.77.0.2", port: 7946 }];
    for (let i = 1; i <= HOSTS; i++) {
      const host = name(`h${i}`);
      namespace(`h${i}`);
      must("-n", bridge, "link", "add", `port${i}`, "type", "veth", "peer", "name", "eth0", "netns", host);
      must("-n", bridge, "link", "set", `port${i}`, "master", "br0", "up");
      must("-n", host, "addr", "add", `10.77.0.${i}/24`, "dev", "eth0");
      must("-n", host, "link", "set", "eth0", "up");
      must("-n", host, "link", "set", "lo", "up");
    }
    const agents = await Promise.all(
      Array.from(
        { length: HOSTS },
        (_, i) =>
          fleet.start(`host-${i + 1}`, { address: `10.77.0.${i + 1}`, port: 7946 }, seeds, [
            "ip",
            "netns",
            "exec",
            name(`h${i + 1}`),
          ]),
      ),
    );
    const alive = (states: Record<string, string>) =>
      Object.values(states).filter((state) => state === "alive").length === HOSTS;
    await Promise.all(agents.map(({ feed }) => feed.until(alive)));

    const others = agents.slice(0, -1), cut = agents.at(-1)!;
    const cutMs = performance.now();
    must("-n", bridge, "link", "set", `port${HOSTS}`, "down");
    const times = await Promise.all(
      others.map(({ feed }) => feed.until((states) => states[cut.hostId] === "dead")),
    );
    const tookMs = times.map((timeMs) => Math.round(timeMs - cutMs));
    // The one that is cut off sees the others die.
    await cut.feed.until((states) =>
      Object.values(states).filter((state) => state === "dead").length === HOSTS - 1
    );
    for (const { feed } of others) {
      expect(Object.values(feed.states()).filter((state) => state === "alive").length).toBe(HOSTS - 1);
    }
    const healMs = performance.now();
    must("-n", bridge, "link", "set", `port${HOSTS}`, "up");
    const back = await Promise.all(agents.map(({ feed }) => feed.until(alive)));
    console.log(
      `${HOSTS} hosts in namespaces: dead to the others after ${tookMs.join(", ")} ms, ` +
        `all alive to all ${Math.round(Math.max(...back) - healMs)} ms after the link was up again`,
    );
    expect(Math.max(...tookMs)).toBeLessThan(DEAD_MS_MAX);
  },
  120_000,
);
