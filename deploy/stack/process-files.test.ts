import { describe, expect, test } from "bun:test";
import { homeAt } from "./home.ts";
import { newHomeRecord, type Secrets } from "./home-record.ts";
import { planPorts } from "./ports.ts";
import { type Elsewhere, processConfigs } from "./process-files.ts";

const word = (letter: string) => letter.repeat(32);
const secrets: Secrets = {
  schema: 1,
  postgres: word("p"),
  redis: { admin: word("a"), api: word("b"), worker: word("w"), edge: word("e") },
  registry: word("r"),
  node_token: word("n"),
};

function configs(elsewhere: Elsewhere) {
  return processConfigs({
    home: homeAt("/tmp/godwit-nowhere", false),
    record: {
      ...newHomeRecord(new Date(0)),
      ranges: { range4: "172.20.16.0/20", range6: "fd12:3456:789a::/48" },
    },
    secrets,
    ports: planPorts(18_080),
    elsewhere,
    guest: {
      kernelFile: "/k",
      vmlinuxFile: "/v",
      initramfsFile: "/i",
      initDriveFile: "/d",
      initFolder: "/f",
    } as never,
    apiPublicKey: "k".repeat(43),
  });
}

describe("processConfigs()", () => {
  test("gives each process its own Redis user and nothing of the others'", () => {
    const { control, worker, edge } = configs({ databaseUrl: null, redisUrl: null });
    expect(control.redis_url).toBe(`redis://api:${word("b")}@127.0.0.1:18083/0`);
    expect(worker.redis_url).toBe(`redis://worker-local:${word("w")}@127.0.0.1:18083/0`);
    expect(edge.rows).toMatchObject({
      from: "redis",
      redis_url: `redis://edge:${word("e")}@127.0.0.1:18083/0`,
      api_public_key: "k".repeat(43),
      query: { socket: homeAt("/tmp/godwit-nowhere", false).replicaSocket },
    });
    expect(control.publisher_key_file).toBe("/tmp/godwit-nowhere/control/publisher-key.pem");
    expect(JSON.stringify({ worker, edge })).not.toContain(word("p"));
    expect(JSON.stringify({ control, edge })).not.toContain(word("w"));
    expect(JSON.stringify(edge)).not.toContain(word("n"));
  });

  test("binds loopback everywhere", () => {
    const { control, edge } = configs({ databaseUrl: null, redisUrl: null });
    for (const place of [control.listen, edge.admin, ...edge.listeners]) {
      expect(place?.address).toBe("127.0.0.1");
    }
  });

  test("points to real servers where the environment names them", () => {
    const { control, edge } = configs({
      databaseUrl: "postgres://u:p@db/godwit",
      redisUrl: "rediss://u:p@cache/0",
    });
    expect(control.database_url).toBe("postgres://u:p@db/godwit");
    expect(edge.rows).toMatchObject({ redis_url: "rediss://u:p@cache/0" });
  });
});
