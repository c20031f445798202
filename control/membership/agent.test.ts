/** Agents on real UDP sockets, and what reaches them that no agent of the fleet has sent. */
import { afterEach, describe, expect, test } from "bun:test";
import { createSocket } from "node:dgram";
import { Agent } from "./agent.ts";
import type { MemberLine } from "../contract/membership.ts";
import { DATAGRAM_BYTES_MAX, encode } from "./message.ts";
import { Seal } from "./seal.ts";

const OLD = "o".repeat(32), NEW = "n".repeat(32);
const agents: TestAgent[] = [];
afterEach(async () => {
  await Promise.all(agents.splice(0).map(({ agent }) => agent.stop(false)));
});

interface TestAgent {
  readonly agent: Agent;
  readonly changes: MemberLine[];
  /** Resolves when it tells this. */
  told(hostId: string, state: string): Promise<void>;
}

async function start(
  id: string,
  seed: TestAgent | null,
  secrets = [OLD],
  seedName = "127.0.0.1",
): Promise<TestAgent> {
  const changes: MemberLine[] = [];
  const waiting = new Set<() => void>();
  const agent = new Agent({
    id,
    listen: { address: "127.0.0.1", port: 0 },
    seeds: seed === null ? [] : [{ address: seedName, port: seed.agent.port }],
    seal: new Seal(secrets),
    random: Math.random,
    nowMs: () => performance.now(),
    wallMs: Date.now,
    onChange: (line) => {
      changes.push(line);
      for (const look of [...waiting]) look();
    },
    onTrouble: () => {},
  });
  await agent.start();
  const told = (hostId: string, state: string) =>
    new Promise<void>((resolve) => {
      const look = () => {
        if (agent.lines().find(({ host_id }) => host_id === hostId)?.state !== state) return;
        waiting.delete(look);
        resolve();
      };
      waiting.add(look);
      look();
    });
  const made = { agent, changes, told };
  agents.push(made);
  return made;
}

function send(bytes: Uint8Array, port: number): Promise<void> {
  const socket = createSocket("udp4");
  return new Promise((resolve, reject) => {
    socket.send(bytes, port, "127.0.0.1", (error) => {
      socket.close();
      if (error !== null && error !== undefined) reject(error);
      else resolve();
    });
  });
}
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 2));
}

describe("Agent", () => {
  test("finds others by a seed, tells of a death and of a return with a higher incarnation", async () => {
    const one = await start("one", null), two = await start("two", one), three = await start("three", one);
    await Promise.all([two.told("three", "alive"), three.told("two", "alive"), one.told("two", "alive")]);
    const before = one.agent.lines().find(({ host_id }) => host_id === "three")!.incarnation;
    const startMs = performance.now();
    await three.agent.stop(false);
    await Promise.all([one.told("three", "dead"), two.told("three", "dead")]);
    console.log(`dead to two others after ${(performance.now() - startMs).toFixed(0)} ms`);
    await start("three", two);
    await Promise.all([one.told("three", "alive"), two.told("three", "alive")]);
    expect(one.agent.lines().find(({ host_id }) => host_id === "three")!.incarnation).toBeGreaterThan(before);
  }, 20_000);

  test("looks up a seed that is named, and loses what it sends to a name that is none", async () => {
    const one = await start("one", null), two = await start("two", one, [OLD], "localhost");
    await Promise.all([one.told("two", "alive"), two.told("one", "alive")]);
    const lost = await start("lost", one, [OLD], "no-such-host.invalid");
    await until(() => lost.agent.counts.sendFailures > 0);
    expect(lost.agent.lines()).toHaveLength(1);
  }, 20_000);

  test("that leaves is told as left, and nobody suspects it", async () => {
    const one = await start("one", null), two = await start("two", one);
    await Promise.all([one.told("two", "alive"), two.told("one", "alive")]);
    await two.agent.stop();
    await one.told("two", "left");
    expect(one.changes.map(({ host_id, state }) => `${host_id} ${state}`)).toEqual(["two alive", "two left"]);
  }, 20_000);

  test("counts and drops what no key has signed, what is too large, and what it cannot read", async () => {
    const one = await start("one", null);
    const { counts, port } = one.agent;
    const seal = new Seal([OLD]);
    const message = encode({ kind: "gossip", id: "two", incarnation: 1, news: [] });
    await send(new Seal([NEW]).close(message), port);
    await send(Buffer.alloc(100, 1), port);
    await until(() => counts.unauthenticated === 2);
    await send(Buffer.alloc(DATAGRAM_BYTES_MAX + 1, 1), port);
    await until(() => counts.oversize === 1);
    await send(seal.close(Buffer.concat([message, Buffer.alloc(1)])), port);
    await until(() => counts.malformed === 1);
    expect(counts.received).toBe(4);
    expect(one.agent.lines()).toHaveLength(1);
  });

  test("of a fleet that changes its key loses nobody", async () => {
    const one = await start("one", null, [OLD, NEW]), two = await start("two", one, [NEW, OLD]);
    await Promise.all([one.told("two", "alive"), two.told("one", "alive")]);
    const stranger = await start("stranger", one, ["s".repeat(32)]);
    await until(() => one.agent.counts.unauthenticated > 0);
    expect(stranger.agent.lines()).toHaveLength(1);
    expect(one.agent.lines()).toHaveLength(2);
  }, 20_000);

  test("what was recorded and is sent again changes nothing", async () => {
    const one = await start("one", null);
    const seal = new Seal([OLD]);
    const at = { address: "127.0.0.1", port: 9 };
    const news = (state: "alive" | "left", incarnation: number) =>
      seal.close(encode({
        kind: "gossip",
        id: "two",
        incarnation,
        news: [{ id: "two", state, incarnation, at, from: null, ageS: 0 }],
      }));
    const left = news("left", 1), alive = news("alive", 1);
    await send(left, one.agent.port);
    await one.told("two", "left");
    for (let i = 0; i < 10; i++) await send(alive, one.agent.port);
    await until(() => one.agent.counts.received === 11);
    expect(one.changes.map(({ state }) => state)).toEqual(["left"]);
  });
});
