import { expect, test } from "bun:test";
import { GodwitError } from "../../control/contract/errors.ts";
import type { RowChange } from "../routes/route-table.ts";
import { GivenRows } from "../rows/given-rows.ts";
import { parseOptions, standaloneConfig } from "./options.ts";

const configOf = (line: string) => standaloneConfig(parseOptions(line.split(" ")));

test("standaloneConfig() makes one app with a machine for each upstream, at each listener's port", async () => {
  const config = await configOf(
    "--from 127.0.0.1:8080 --from [::1]:8443 --to 127.0.0.1:3000 --to [::1]:3001 --host *.example.test --soft-limit 5 --hard-limit 9 --h2-backend --access-log off",
  );
  expect(config.listeners).toEqual([
    { address: "127.0.0.1", port: 8080, service_port: 8080 },
    { address: "::1", port: 8443, service_port: 8443 },
  ]);
  expect(config.admin).toBe(null);
  expect(config.access_log).toBe("off");
  if (config.rows.from !== "given") throw new Error(config.rows.from);
  const rows: RowChange[] = [];
  await new GivenRows(config.rows.rows, (changes) => rows.push(...changes)).start();
  expect(rows.map(({ table }) => table)).toEqual(["apps", "hostnames", "machines", "machines"]);
  expect(rows[1]!.key).toBe("*.example.test");
  expect(rows[3]!.row).toMatchObject({
    address4: null,
    address6: "::1",
    services: [{
      internal_port: 3001,
      ports: [{ port: 8080, http_options: { h2_backend: true } }, { port: 8443 }],
      concurrency: { soft_limit: 5, hard_limit: 9 },
    }],
  });
});

test("standaloneConfig() looks an upstream's name up", async () => {
  const config = await configOf("--from 127.0.0.1:8080 --to localhost:3000");
  if (config.rows.from !== "given") throw new Error(config.rows.from);
  expect(config.rows.rows[2]!.row).toMatchObject({ address4: "127.0.0.1" });
});

for (
  const [line, message] of [
    ["--to 127.0.0.1:1", "--from is missing"],
    ["--from 127.0.0.1:1", "an edge needs upstreams, either as --to or as --rows"],
    ["--from 127.0.0.1:1 --to 127.0.0.1:1 --rows f", "an edge needs upstreams, either as --to or as --rows"],
    ["--from 8080 --to 127.0.0.1:1", "--from 8080 is not ADDRESS:PORT"],
    ["--from ::1:80 --to 127.0.0.1:1", "--from ::1:80 is not ADDRESS:PORT"],
    ["--from 127.0.0.1:70000 --to 127.0.0.1:1", "--from 127.0.0.1:70000 is not ADDRESS:PORT"],
    ["--from 127.0.0.1:1 --to x.invalid:1", "--to x.invalid:1 has no IPv4 address"],
    ["--from 127.0.0.1:1 --to 127.0.0.1:1 --soft-limit many", "--soft-limit many is not a number"],
    ["--from 127.0.0.1:1 --to 127.0.0.1:1 --region x", "region: a region code is three letters"],
    ["--from 127.0.0.1:1 --to 127.0.0.1:1 --admin 10.0.0.1:1", "--admin 10.0.0.1 is not a loopback address"],
    ["--form 127.0.0.1:1", "Unknown option '--form'"],
  ] as const
) {
  test(`standaloneConfig() refuses \`${line}\``, async () => {
    const error = await Promise.resolve().then(() => configOf(line)).then(() => null, (e) => e);
    expect(error).toBeInstanceOf(GodwitError);
    expect(error.code).toBe("edge.option_invalid");
    expect(error.message).toContain(message);
  });
}
