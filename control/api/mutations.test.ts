import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { CREATE_APP, DEPLOY, TestApi } from "./api.fixture.ts";

let api: TestApi;
beforeAll(async () => {
  api = await TestApi.start();
  await api.createApp("deployed");
}, 60_000);
afterAll(() => api.close());

const create = (input: Record<string, unknown>) => api.query(CREATE_APP, { input });

describe("createApp", () => {
  test("gives the app a host name and a URL", async () => {
    expect((await api.ask(CREATE_APP, { input: { name: "shop" } })).createApp.app).toMatchObject({
      name: "shop",
      hostname: "shop.localhost",
      url: "http://shop.localhost:8080/",
      status: "PENDING",
      organization: { slug: "personal" },
    });
  });

  test("refuses a bad name with the value met and what is allowed", async () => {
    for (const name of ["", "Shop", "1shop", "shop-", "a".repeat(64), "sh op", "s\u0000p"]) {
      const error = (await create({ name })).errors![0]!;
      expect(error.extensions).toMatchObject({ code: "app.name_invalid", fault: "client" });
      expect(error.message).toContain("1 to 63 of a-z, 0-9 and -");
      expect(error.message).toContain(JSON.stringify(name).slice(0, 60));
    }
  });

  test("refuses a name that is taken", async () => {
    await create({ name: "taken" });
    expect(await api.codeOf(CREATE_APP, { input: { name: "taken" } })).toBe("app.name_taken");
  });

  test("does once what is asked twice with one key, also at the same time", async () => {
    const input = { name: "once", idempotencyKey: "k-once" };
    const answers = await Promise.all(Array.from({ length: 5 }, () => create(input)));
    const ids = answers.map((answer) => answer.data?.createApp.app.id);
    expect(new Set(ids).size).toBe(1);
    expect(ids[0]).toBeString();
  });

  test("refuses a key that was used with other input, and keys of another shape", async () => {
    await create({ name: "keyed", idempotencyKey: "k-1" });
    expect(await api.codeOf(CREATE_APP, { input: { name: "keyed-2", idempotencyKey: "k-1" } })).toBe(
      "api.idempotency_conflict",
    );
    expect(await api.codeOf(CREATE_APP, { input: { name: "keyed-3", idempotencyKey: "k 1" } })).toBe(
      "api.idempotency_key_invalid",
    );
  });

  test("frees the key of a mutation that failed", async () => {
    expect(await api.codeOf(CREATE_APP, { input: { name: "taken", idempotencyKey: "k-2" } })).toBe(
      "app.name_taken",
    );
    expect((await create({ name: "freed", idempotencyKey: "k-2" })).errors).toBeUndefined();
  });
});

describe("deployImage", () => {
  const deploy = (more: Record<string, unknown>) =>
    api.query(DEPLOY, { input: { app: "deployed", image: "test/app:1", ...more } });
  const service = (port: number, more: Record<string, unknown> = {}) => ({
    internal_port: 8_080,
    ports: [{ port }],
    ...more,
  });

  const refusals: [what: string, input: Record<string, unknown>, code: string, words: string][] = [
    [
      "a guest of 3 CPUs",
      { guest: { cpus: 3 } },
      "release.guest_invalid",
      "Cannot use the guest size 3 at cpus",
    ],
    ["a guest of 300 MB", { guest: { memoryMb: 300 } }, "release.guest_invalid", "300 at memory_mb"],
    ["a guest of 0 MB", { guest: { memoryMb: 0 } }, "release.guest_invalid", "0 at memory_mb"],
    ["an unknown CPU kind", { guest: { cpuKind: "quantum" } }, "release.guest_invalid", '"quantum"'],
    [
      "an env name with a dash",
      { env: [{ name: "MY-VAR", value: "hidden-value" }] },
      "release.env_invalid",
      "at MY-VAR: an env name is letters, digits and _",
    ],
    [
      "an env variable given twice",
      { env: [{ name: "A", value: "1" }, { name: "A", value: "2" }] },
      "release.env_invalid",
      "A is given twice",
    ],
    [
      "an env value with NUL",
      { env: [{ name: "A", value: "x\u0000" }] },
      "release.env_invalid",
      "contains NUL",
    ],
    [
      "two services on one port",
      { services: [service(80), service(80, { internal_port: 9_090 })] },
      "release.services_invalid",
      "port 80 is named twice",
    ],
    [
      "a port out of range",
      { services: [service(70_000)] },
      "release.services_invalid",
      "70000 at 0.ports.0.port",
    ],
    [
      "a service without ports",
      { services: [{ internal_port: 1, ports: [] }] },
      "release.services_invalid",
      "0.ports",
    ],
    [
      "services that are no list",
      { services: { internal_port: 1 } },
      "release.services_invalid",
      "expected array",
    ],
    [
      "http options without the handler http",
      { services: [{ internal_port: 1, ports: [{ port: 5_432, handlers: [], force_https: true }] }] },
      "release.services_invalid",
      "port 5432 has force_https or http_options",
    ],
    [
      "PROXY headers on connections that many clients share",
      {
        services: [{
          internal_port: 1,
          ports: [{ port: 80, handlers: ["http", "proxy_proto"], http_options: { h2_backend: true } }],
        }],
      },
      "release.services_invalid",
      "whose connections carry many clients",
    ],
    [
      "an edit of where a response ends",
      {
        services: [{
          internal_port: 1,
          ports: [{ port: 80, http_options: { response: { headers: { "Content-Length": "0" } } } }],
        }],
      },
      "release.services_invalid",
      "the edge alone says",
    ],
    [
      "an access rule without keys",
      {
        services: [{ internal_port: 1, ports: [{ port: 80, http_options: { access: { issuer: "i" } } }] }],
      },
      "release.services_invalid",
      "exactly one of jwks_url and jwks",
    ],
    [
      "services that fit no event",
      {
        services: Array.from({ length: 10 }, (_, i) => ({
          internal_port: 1,
          ports: [{ port: 80 + i, http_options: { response: { headers: { X: "x".repeat(8_000) } } } }],
        })),
      },
      "release.services_invalid",
      "bytes as JSON",
    ],
    ["an empty image", { image: "" }, "release.image_invalid", "Cannot use the image"],
    ["an image with a space", { image: "a b" }, "release.image_invalid", "no spaces"],
    ["an empty command", { command: [] }, "release.command_invalid", "command"],
    ["an unknown machine setting", { machine: { restarts: 3 } }, "release.machine_invalid", "restarts"],
    [
      "a file outside of the root",
      { machine: { files: [{ guest_path: "/../etc/x", raw_value: "aGlkZGVuLXZhbHVl" }] } },
      "release.machine_invalid",
      "has no ..",
    ],
    ["a wait of no time", { waitTimeoutS: 0 }, "release.wait_timeout_invalid", "waitTimeoutS 0"],
    ["an app that is not there", { app: "nowhere" }, "app.not_found", 'no app "nowhere"'],
  ];
  for (const [what, input, code, words] of refusals) {
    test(`refuses ${what} with ${code}`, async () => {
      const error = (await deploy(input)).errors![0]!;
      expect(error.extensions).toMatchObject({ code, fault: "client" });
      expect(error.extensions.hint).toBeString();
      expect(error.message).toContain(words);
      expect(error.message).not.toContain("hidden-value");
    });
  }

  test("gives the app its first service when none is named", async () => {
    const { release } =
      (await api.ask(DEPLOY, { input: { app: "deployed", image: "test/app:1" } })).deployImage;
    expect(release.status).toBe("PENDING");
    expect(release.version).toBe(1);
    expect(release.services).toMatchObject([
      { protocol: "tcp", internal_port: 8_080, ports: [{ port: 80, handlers: ["http"] }] },
    ]);
  });

  test("keeps what a service asks of the edge in the release", async () => {
    await api.createApp("asking");
    const http_options = {
      compress: true,
      idle_timeout: 600,
      response: { headers: { "X-Frame-Options": "DENY", "X-Powered-By": false, Link: ["</a>", "</b>"] } },
      body_bytes_max: 1_000,
      rate_limit: { requests: 10, per_s: 60, burst: 5 },
      access: {
        issuer: "https://issuer.example/",
        audience: ["shop"],
        scopes: ["read"],
        jwks_url: "https://issuer.example/keys",
        clock_skew_s: 30,
      },
    };
    const services = [{ internal_port: 8_080, ports: [{ port: 80, force_https: true, http_options }] }];
    const { release } =
      (await api.ask(DEPLOY, { input: { app: "asking", image: "test/app:1", services } })).deployImage;
    expect(release.services).toMatchObject(services);
  });

  test("answers a repeated key with the same release, though a deploy is under way", async () => {
    await api.createApp("repeated");
    const input = {
      app: "repeated",
      image: "test/app:1",
      env: [{ name: "A", value: "1" }],
      idempotencyKey: "d",
    };
    const first = await api.ask(DEPLOY, { input });
    expect(await api.ask(DEPLOY, { input })).toEqual(first);
    const other = { ...input, env: [{ name: "A", value: "2" }] };
    expect(await api.codeOf(DEPLOY, { input: other })).toBe("api.idempotency_conflict");
    expect(await api.codeOf(DEPLOY, { input: { ...input, idempotencyKey: "e" } })).toBe(
      "release.in_progress",
    );
  });
});
