/** A real Redis Cluster of three primaries, each with a replica where one is to be failed over, for tests. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { keySlot, primaryOf, readSlots } from "../../control/contract/cluster-slots.ts";
import { freePort } from "./child.ts";
import { type RedisPasswords, type RedisServer, type RedisTls, type RedisUser, startRedis } from "./redis.ts";

const PRIMARIES = 3;
const FORM_WAIT_MS = 60_000;
const FORM_POLL_MS = 50;

export interface RedisClusterOptions {
  readonly folder: string;
  readonly passwords: RedisPasswords;
  /** A primary that has not answered the others for so long is failed over. */
  readonly nodeTimeoutMs: number;
  /** They all speak TLS alone. */
  readonly tls?: RedisTls;
}

export interface RedisCluster {
  urlOf(user: RedisUser): string;
  /** SIGKILL to the primary that has the key. @returns its port */
  killOwner(key: string): Promise<number>;
  ownerPort(key: string): Promise<number>;
  stop(): Promise<void>;
}

export async function startRedisCluster(options: RedisClusterOptions): Promise<RedisCluster> {
  const { folder, passwords, nodeTimeoutMs, tls } = options;
  const tlsParts = tls === undefined ? [] : ["--tls", "--cacert", tls.caFile];
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const servers: (RedisServer & { port: number; busPort: number })[] = [];
  const killed = new Set<number>();
  const stop = async () => void await Promise.all(servers.map((server) => server.stop()));
  const cli = async (port: number, ...parts: string[]) => {
    const child = Bun.spawn(
      ["redis-cli", "--user", "admin", "--no-auth-warning", "-p", `${port}`, "--json", ...tlsParts, ...parts],
      {
        ...{ stdin: "ignore", stdout: "pipe", stderr: "pipe" },
        env: { PATH: process.env.PATH ?? "/usr/bin:/bin", REDISCLI_AUTH: passwords.admin },
      },
    );
    const [said, failed] = [await new Response(child.stdout).text(), await child.exited !== 0];
    if (failed) {
      throw new Error(`redis-cli ${parts.join(" ")}: ${said}${await new Response(child.stderr).text()}`);
    }
    return said;
  };
  const ownerPort = async (key: string) => {
    const asked = servers.find(({ port }) => !killed.has(port))!.port;
    const slots = readSlots(JSON.parse(await cli(asked, "CLUSTER", "SLOTS")), {
      host: "127.0.0.1",
      port: asked,
    });
    return primaryOf(slots, keySlot(key))!.port;
  };
  try {
    for (let n = 0; n < 2 * PRIMARIES; n++) {
      const [port, busPort] = [await freePort(), await freePort()];
      const server = await startRedis({
        ...{
          folder: join(folder, `${n}`),
          port,
          passwords,
          logFile: join(folder, `${n}.log`),
          durable: false,
        },
        inCluster: true,
        ...(tls === undefined ? {} : { tls }),
        more: [
          ...(tls === undefined ? [] : ["tls-replication yes", "tls-cluster yes"]),
          ...["masteruser admin", `masterauth ${passwords.admin}`, "repl-diskless-sync-delay 0"],
          ...[
            `cluster-port ${busPort}`,
            `cluster-node-timeout ${nodeTimeoutMs}`,
            "cluster-replica-validity-factor 0",
          ],
        ],
      });
      servers.push({ ...server, port, busPort });
    }
    const all = servers.map(({ port, busPort }) => `127.0.0.1:${port}@${busPort}`);
    await cli(servers[0]!.port, "--cluster", "create", ...all, "--cluster-replicas", "1", "--cluster-yes");
    for (const { port } of servers) {
      await untilTrue(async () => {
        const info = await cli(port, "--raw", "CLUSTER", "INFO");
        const replication = await cli(port, "--raw", "INFO", "replication");
        return info.includes("cluster_state:ok") && info.includes(`cluster_known_nodes:${2 * PRIMARIES}`) &&
          (replication.includes("role:master") || replication.includes("master_link_status:up"));
      });
    }
    return {
      urlOf: (user) => {
        const { username, password } = new URL(servers[0]!.urlOf(user));
        // Two of them: the others are learnt.
        return `${tls === undefined ? "redis" : "rediss"}+cluster://${username}:${password}@127.0.0.1:${
          servers[0]!.port
        },127.0.0.1:${servers[1]!.port}`;
      },
      ownerPort,
      killOwner: async (key) => {
        const port = await ownerPort(key);
        const server = servers.find((each) => each.port === port)!;
        process.kill(server.pid, "SIGKILL");
        await server.exited;
        killed.add(port);
        return port;
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function untilTrue(holds: () => Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + FORM_WAIT_MS;;) {
    if (await holds().catch(() => false)) return;
    if (Date.now() > deadline) throw new Error("the cluster did not come together");
    await Bun.sleep(FORM_POLL_MS);
  }
}
