import { afterAll, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GodwitError } from "../../control/contract/errors.ts";
import { parseRedisUrl } from "../../control/contract/redis-url.ts";
import { replicateOptions } from "./options.ts";

const folder = mkdtempSync(join(tmpdir(), "godwit-replicate-options-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const optionsOf = (line: string) => replicateOptions(line.split(" "));
async function refusal(line: string): Promise<GodwitError> {
  const error = await optionsOf(line).then(() => null, (error) => error);
  if (!(error instanceof GodwitError)) throw new Error(`${line} was taken: ${error}`);
  return error;
}

test("replicateOptions() makes a replicator's settings of a command line", async () => {
  const password = join(folder, "password");
  writeFileSync(password, "s3cret/with:signs@\n", { mode: 0o600 });
  const options = await optionsOf(
    `--redis redis://edge@127.0.0.1:6379/0 --redis-password-file ${password} --file ${folder}/r.sqlite ` +
      "--regions ams,fra --snapshots-from http://10.0.0.1:9000,https://b.test --admin [::1]:9100 --json --snapshots-listen 127.0.0.1:9200",
  );
  expect(options?.settings.regions).toEqual(["ams", "fra"]);
  const { rows } = options!.settings;
  expect(decodeURIComponent(new URL(rows.redis_url).password)).toBe("s3cret/with:signs@");
  expect(new URL(rows.redis_url).username).toBe("edge");
  expect(rows.snapshots_from).toEqual(["http://10.0.0.1:9000", "https://b.test"]);
  expect(rows.snapshots_listen).toEqual({ address: "127.0.0.1", port: 9_200 });
  expect(rows.api_public_key).toBeUndefined();
  expect(options?.admin).toEqual({ address: "::1", port: 9_100 });
  expect(options?.json).toBe(true);
});

test("replicateOptions() takes a place for queries: a socket, or loopback with a token", async () => {
  const base = "--redis redis://127.0.0.1:6379 --file r.sqlite";
  const place = async (more: string) => (await optionsOf(`${base}${more}`))?.settings.rows.query;
  expect(await place("")).toBeUndefined();
  expect(await place(" --query /run/query.sock")).toEqual({ socket: "/run/query.sock" });
  expect(await place(" --query 127.0.0.1:9300 --query-token-file /etc/token")).toEqual({
    ...{ address: "127.0.0.1", port: 9_300, token_file: "/etc/token" },
  });
  expect((await refusal(`${base} --query 127.0.0.1:9300`)).message).toContain("--query-token-file");
  expect((await refusal(`${base} --query 10.0.0.1:9300 --query-token-file t`)).message).toContain("loopback");
});

test("replicateOptions() takes a socket for the admin pages, and nothing that others can reach", async () => {
  const base = "--redis redis://127.0.0.1:6379 --file r.sqlite";
  expect((await optionsOf(`${base} --admin /run/replica.sock`))?.admin).toEqual({
    socket: "/run/replica.sock",
  });
  expect((await refusal(`${base} --admin 0.0.0.0:9100`)).message).toContain("loopback");
  expect((await refusal(`${base} --admin here`)).code).toBe("edge.option_invalid");
});

test("replicateOptions() refuses a password in argv, does not repeat it, and says what to do", async () => {
  const error = await refusal("--redis redis://edge:hunter2@127.0.0.1:6379 --file r.sqlite");
  expect(error.code).toBe("edge.password_in_argv");
  expect(error.hint).toContain("--redis-password-file");
  expect(error.message + error.hint).not.toContain("hunter2");
});

test("replicateOptions() takes sentinels, and their password from a file too", async () => {
  const password = join(folder, "sentinel-password");
  writeFileSync(password, "w&rd", { mode: 0o600 });
  const base = "--file r.sqlite --redis redis+sentinel://edge@a:1,b:2/fleet?sentinel_username=s";
  const options = await optionsOf(`${base} --redis-sentinel-password-file ${password}`);
  expect(parseRedisUrl(options!.settings.rows.redis_url)).toMatchObject({
    ...{ topology: "sentinel", primary: "fleet", sentinelUser: { username: "s", password: "w&rd" } },
  });
  const refused = await refusal(`${base}&sentinel_password=hunter2`);
  expect(refused.hint).toContain("--redis-sentinel-password-file");
  expect(refused.message + refused.hint).not.toContain("hunter2");
});

test("replicateOptions() refuses a password file that others may read, or that is not there", async () => {
  const password = join(folder, "open");
  writeFileSync(password, "secret");
  chmodSync(password, 0o644);
  const base = "--redis redis://edge@127.0.0.1:6379 --file r.sqlite --redis-password-file";
  expect((await refusal(`${base} ${password}`)).message).toContain("others may read it");
  expect((await refusal(`${base} ${folder}/none`)).code).toBe("edge.password_file_unusable");
});

test("replicateOptions() says which option is wrong", async () => {
  for (
    const [line, word] of [
      ["--file r.sqlite", "--redis is missing"],
      ["--redis redis://127.0.0.1", "--file is missing"],
      ["--redis http://127.0.0.1 --file r", "Redis URL"],
      ["--redis redis://127.0.0.1 --file r --api-public-key short", "--api-public-key"],
      ["--redis redis://127.0.0.1 --file r --regions AMS", "--regions"],
      ["--redis redis://127.0.0.1 --file r --log-level loud", "--log-level"],
      ["--redis redis://127.0.0.1 --file r --nonsense", "nonsense"],
    ] as const
  ) expect((await refusal(line)).message).toContain(word);
});
