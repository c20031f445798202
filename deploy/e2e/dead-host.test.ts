/**
 * A host that goes silent, with the agents as processes and a real edge: its agent is killed (SIGKILL) and its machine
 * stops (SIGSTOP), so that connections to it still stand, as they do to a host whose power is gone, and nothing answers.
 * Nobody publishes a row.
 */
import { afterAll, expect, test } from "bun:test";
import { pino } from "pino";
import { Fleet } from "../../control/membership/fleet.fixture.ts";
import { machineChange } from "../../control/contract/machine-row.fixture.ts";
import { EdgeConfig } from "../../control/contract/process-config.ts";
import { startEdge } from "../../edge/edge.ts";
import { idOf, until } from "../../edge/edge.fixture.ts";
import { loadRuntime } from "../../edge/runtime/runtime.ts";
import { freePort } from "../servers/child.ts";

/** It takes about a second; a machine that does something else meanwhile takes longer. */
const DEAD_MS_MAX = 8_000;
const REQUESTS_AFTER = 100;
const APP = idOf("app");
const fleet = new Fleet();
const ends: (() => unknown)[] = [() => fleet.stop()];
afterAll(async () => {
  for (const end of ends.reverse()) await end();
});

/** A process that answers with its host's name. */
async function startMachine(host: string): Promise<{ port: number; process: Bun.Subprocess }> {
  const port = await freePort();
  const program = `Bun.serve({ port: ${port}, hostname: "127.0.0.1", fetch: () => new Response("${host}") });
console.log("up");`;
  const child = Bun.spawn([process.execPath, "-e", program], { stdout: "pipe", stderr: "inherit" });
  ends.push(async () => {
    child.kill("SIGKILL");
    await child.exited;
  });
  await child.stdout.getReader().read();
  return { port, process: child };
}

test(
  "a host that goes silent gets no more requests as soon as the agents know it, before any row says so",
  async () => {
    const ports = { front: await freePort(), "host-1": await freePort(), "host-2": await freePort() };
    const seeds = [{ address: "127.0.0.1", port: ports.front }];
    const [front, , second] = await Promise.all(
      Object.entries(ports).map(([hostId, port]) =>
        fleet.start(hostId, { address: "127.0.0.1", port }, seeds)
      ),
    );
    const machines = { "host-1": await startMachine("host-1"), "host-2": await startMachine("host-2") };
    const config = EdgeConfig.parse({
      schema: 1,
      edge_id: "edge",
      region: "ams",
      regions: [],
      listeners: [{ address: "127.0.0.1", port: await freePort(), service_port: 80 }],
      admin: null,
      rows: { from: "given", rows: [] },
      membership_socket: front!.socket,
      access_log: "off",
    });
    const edge = await startEdge(config, await loadRuntime(), pino({ level: "silent" }));
    ends.push(() => edge.stop(200));
    edge.routes.apply([{ table: "hostnames", key: "a.test", row: { hostname: "a.test", app_id: APP } }]);
    for (const [host, { port }] of Object.entries(machines)) {
      edge.routes.apply([machineChange(port, { id: idOf(host, 14), app_id: APP, host_id: host })]);
    }
    const get = async (waitMsMax: number) => {
      try {
        const signal = AbortSignal.timeout(waitMsMax);
        const response = await fetch(`http://127.0.0.1:${edge.ports[0]}/`, {
          headers: { host: "a.test" },
          signal,
        });
        return await response.text();
      } catch {
        return "no answer";
      }
    };
    const many = async (count: number) => {
      const answers = new Map<string, number>();
      for (let i = 0; i < count; i++) {
        const answer = await get(5_000);
        answers.set(answer, (answers.get(answer) ?? 0) + 1);
      }
      return answers;
    };
    await until(() => edge.membership!.connected && edge.membership!.members === 3);
    expect([...(await many(REQUESTS_AFTER)).keys()].sort()).toEqual(["host-1", "host-2"]);

    machines["host-2"].process.kill("SIGSTOP");
    second!.process.kill("SIGKILL");
    const startMs = performance.now();
    // A client that goes on asking, and gives up each request after 100 ms.
    let lost = 0;
    while (!edge.membership!.dead.has("host-2") && performance.now() - startMs < 30_000) {
      if (await get(100) === "no answer") lost++;
    }
    const tookMs = performance.now() - startMs;
    console.log(
      `${
        tookMs.toFixed(0)
      } ms after the host went silent it gets nothing more; ${lost} requests lost until then`,
    );
    expect(tookMs).toBeLessThan(DEAD_MS_MAX);
    expect(await many(REQUESTS_AFTER)).toEqual(new Map([["host-1", REQUESTS_AFTER]]));

    machines["host-2"].process.kill("SIGCONT");
    await fleet.start("host-2", { address: "127.0.0.1", port: ports["host-2"] }, seeds);
    await until(() => edge.membership!.dead.size === 0, 20_000);
    expect([...(await many(REQUESTS_AFTER)).keys()].sort()).toEqual(["host-1", "host-2"]);
  },
  120_000,
);
