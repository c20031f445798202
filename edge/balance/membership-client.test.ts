import { afterAll, afterEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { MEMBERS_LINE_BYTES_MAX } from "../../control/contract/membership.ts";
import { until } from "../edge.fixture.ts";
import { FakeAgent } from "./membership-agent.fixture.ts";
import { MembershipClient, type MembershipClientOptions } from "./membership-client.ts";

const folder = mkdtempSync(join(tmpdir(), "godwit-member-client-"));
const socket = join(folder, "membership.sock");
const agent = new FakeAgent(socket);
let client: MembershipClient | null = null;
afterEach(async () => {
  client?.stop();
  await agent.stop();
});
afterAll(() => rmSync(folder, { recursive: true }));

function start(
  options: Partial<MembershipClientOptions> = {},
): { client: MembershipClient; told: string[][] } {
  const told: string[][] = [];
  client = new MembershipClient({
    socket,
    ownHostId: "a",
    onDead: (hosts) => told.push([...hosts].sort()),
    random: () => 0,
    log: pino({ level: "silent" }),
    ...options,
  });
  client.start();
  return { client, told };
}

describe("MembershipClient", () => {
  test("says who is dead, at first and with each change", async () => {
    agent.members = { a: "alive", b: "dead", c: "alive", d: "alive" };
    await agent.start();
    const { told } = start();
    await until(() => told.length === 1);
    agent.tell("c", "dead");
    await until(() => told.length === 2);
    agent.tell("b", "alive");
    await until(() => told.length === 3);
    expect(told).toEqual([["b"], ["b", "c"], ["c"]]);
  });
  test("keeps what it knew while the agent starts again, and takes over what the new one says", async () => {
    agent.members = { a: "alive", b: "dead" };
    await agent.start();
    const { client, told } = start();
    await until(() => told.length === 1);
    await agent.stop();
    await until(() => !client.connected);
    agent.members = { a: "alive", b: "alive" };
    await agent.start();
    await until(() => told.length === 2);
    expect(told).toEqual([["b"], []]);
    expect(client.connections).toBe(2);
  });
  test("goes on without anybody dead when the agent stays away", async () => {
    agent.members = { a: "alive", b: "dead" };
    await agent.start();
    const { client, told } = start({ awayMsMax: 50 });
    await until(() => told.length === 1);
    await agent.stop();
    await until(() => told.length === 2);
    expect([told[1], client.connected, client.members]).toEqual([[], false, 0]);
  });
  test("waits for an agent that is not there yet", async () => {
    const { client } = start();
    agent.members = { a: "alive" };
    await agent.start();
    await until(() => client.connected);
  });
  test("leaves an agent that says nothing for too long, and comes back", async () => {
    agent.members = { a: "alive" };
    await agent.start();
    const before = agent.opened;
    start({ silenceMsMax: 40 });
    await until(() => agent.opened >= before + 3);
  });
  test("passes over lines that it cannot read, and leaves who sends one without an end", async () => {
    agent.members = { a: "alive", b: "alive" };
    await agent.start();
    const { client, told } = start();
    await until(() => client.connected);
    agent.write('nonsense\n{"host_id":"b","state":"undead","incarnation":1,"at_ms":1}\n');
    agent.tell("b", "dead");
    await until(() => told.length === 1);
    expect(client.linesRefused).toBe(2);
    const before = agent.opened;
    agent.write("x".repeat(MEMBERS_LINE_BYTES_MAX + 1));
    await until(() => agent.opened > before);
    expect(client.linesRefused).toBe(3);
  });
  test("reads lines that come in pieces", async () => {
    agent.members = { a: "alive", b: "alive" };
    await agent.start();
    const { client, told } = start();
    await until(() => client.connected);
    const line = '{"host_id":"b","state":"dead","incarnation":1,"at_ms":1}\n';
    for (const character of line) {
      agent.write(character);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await until(() => told.length === 1);
    expect(told).toEqual([["b"]]);
  });
});
