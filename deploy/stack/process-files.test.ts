import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { replicateOptions } from "../../edge/replicate/options.ts";
import { readSnapshotToken } from "../../edge/snapshot/token.ts";
import { homeAt } from "./home.ts";
import { newHomeRecord, type Secrets } from "./home-record.ts";
import { planPorts } from "./ports.ts";
import { type Elsewhere, processConfigs, replicaArgv, writeProcessFiles } from "./process-files.ts";

const word = (letter: string) => letter.repeat(32);
const secrets: Secrets = {
  schema: 1,
  postgres: word("p"),
  redis: { admin: word("a"), api: word("b"), worker: word("w"), edge: word("e") },
  registry: word("r"),
  node_token: word("n"),
  snapshots: word("s"),
  membership: word("m"),
};

function given(elsewhere: Elsewhere) {
  return {
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
  };
}
const configs = (elsewhere: Elsewhere) =>
  processConfigs({ ...given(elsewhere), apiPublicKey: "k".repeat(43) });

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
    const { control, edge, membership } = configs({ databaseUrl: null, redisUrl: null });
    for (const place of [control.listen, edge.admin, membership.listen, ...edge.listeners]) {
      expect(place?.address).toBe("127.0.0.1");
    }
  });

  test("gives the edge its agent, and the snapshots of the replica beside control with their token", () => {
    const { edge, membership } = configs({ databaseUrl: null, redisUrl: null });
    expect([edge.membership_socket, membership.host_id]).toEqual([membership.socket, edge.host_id!]);
    expect(edge.rows).toMatchObject({
      snapshots_from: ["http://127.0.0.1:18086"],
      snapshot_token_file: "/tmp/godwit-nowhere/snapshots/token",
    });
    expect(JSON.stringify({ edge, membership })).not.toContain(word("s"));
    expect(JSON.stringify({ edge, membership })).not.toContain(word("m"));
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

test("the replica beside control is told no secret that other users of the machine could read", async () => {
  const folder = mkdtempSync(join(tmpdir(), "godwit-process-files-"));
  try {
    const facts = { ...given({ databaseUrl: null, redisUrl: null }), home: homeAt(folder, false) };
    writeProcessFiles(facts);
    const argv = replicaArgv(facts);
    for (const secret of [word("e"), word("s")]) expect(argv.join(" ")).not.toContain(secret);
    // As its own command line reads it.
    const read = await replicateOptions(argv.slice(1));
    expect(read!.settings.rows).toMatchObject({
      redis_url: `redis://edge:${word("e")}@127.0.0.1:18083/0`,
      snapshots_listen: { address: "127.0.0.1", port: 18_086 },
    });
    expect(readSnapshotToken(read!.settings.rows.snapshot_token_file!)).toBe(word("s"));
    const elsewhere = { databaseUrl: null, redisUrl: "rediss://edge:a%2Fb@cache/0" };
    writeProcessFiles({ ...facts, elsewhere });
    const there = await replicateOptions(replicaArgv({ ...facts, elsewhere }).slice(1));
    expect(there!.settings.rows.redis_url).toBe("rediss://edge:a%2Fb@cache:6379/0");
  } finally {
    rmSync(folder, { recursive: true });
  }
});
