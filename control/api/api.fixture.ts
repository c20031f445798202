/** The API on a real database and a real Redis, asked in process; for tests. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Redis } from "ioredis";
import { pino } from "pino";
import { startOwnRedis, testDatabase, testRedis } from "../../deploy/servers/testbed.ts";
import { type KeyPair, loadKeyPair } from "../access/key-file.ts";
import { issueToken, type Scope } from "../access/token.ts";
import type { WireError } from "../contract/errors.ts";
import { WorkerClient } from "../place/worker-client.ts";
import { connectRedis } from "../publish/redis.ts";
import { Store } from "../store/database.ts";
import type { Host } from "../store/hosts.ts";
import { migrate } from "../store/migrate.ts";
import { ensureOrganization } from "../store/organizations.ts";
import { makeApp } from "./app.ts";
import type { ApiParts } from "./context.ts";
import { Metrics } from "./metrics.ts";

export const NODE_TOKEN = "node-token-of-the-tests-0123456789abcdef";

export interface GraphqlAnswer {
  // deno-lint-ignore no-explicit-any -- tests look into what they asked for
  readonly data: any;
  readonly errors?: { message: string; extensions: Omit<WireError, "message"> }[];
}

export class TestApi {
  readonly store: Store;
  readonly redis: Redis;
  readonly databaseUrl: string;
  readonly redisUrl: string;
  readonly keys: KeyPair;
  readonly parts: ApiParts;
  readonly logged: string[] = [];
  token = "";
  wakeRunner: () => void = () => {};
  readonly #app: ReturnType<typeof makeApp>;
  readonly #folder: string;
  /** As the user who may do all, for what workers write. */
  readonly adminRedisUrl: string;
  /** Null where the Redis is shared with other tests. */
  readonly stopRedis: (() => Promise<void>) | null;

  private constructor(
    databaseUrl: string,
    redisUrl: string,
    adminRedisUrl: string,
    stopRedis: (() => Promise<void>) | null,
  ) {
    this.adminRedisUrl = adminRedisUrl;
    this.databaseUrl = databaseUrl;
    this.redisUrl = redisUrl;
    this.stopRedis = stopRedis;
    this.store = new Store(databaseUrl);
    this.redis = connectRedis(redisUrl);
    this.#folder = mkdtempSync(join(tmpdir(), "godwit-api-"));
    this.keys = loadKeyPair(join(this.#folder, "key.pem"));
    this.parts = {
      config: {
        node_token: NODE_TOKEN,
        hostname_suffix: "localhost",
        app_url_template: "http://{app}.localhost:8080/",
      },
      store: this.store,
      redis: this.redis,
      newRedisReader: () => connectRedis(redisUrl, { blocking: true }),
      keys: this.keys,
      clientOf: (host: Host) => new WorkerClient(host.id, host.url),
      wakeRunner: () => this.wakeRunner(),
      metrics: new Metrics(),
      log: pino({ level: "info" }, { write: (line: string) => this.logged.push(line) }),
    };
    this.#app = makeApp(this.parts);
  }

  /** @param ownRedis For tests that look at the fixed stream names, or stop it. */
  static async start(options: { ownRedis?: boolean } = {}): Promise<TestApi> {
    const own = options.ownRedis === true ? await startOwnRedis() : null;
    const api = new TestApi(
      await testDatabase(),
      own?.urlOf("api") ?? await testRedis("api"),
      own?.urlOf("admin") ?? await testRedis("admin"),
      own === null ? null : () => own.stop(),
    );
    await migrate(api.store);
    await api.store.read((sql) => ensureOrganization(sql, "personal"));
    await api.redis.connect();
    api.token = await api.issue({});
    return api;
  }

  issue(
    grant: { subject?: string; organizations?: string[]; scopes?: Scope[]; expiresInS?: number; now?: Date },
  ): Promise<string> {
    return issueToken(this.keys, {
      subject: grant.subject ?? "tester",
      organizations: grant.organizations ?? ["personal"],
      scopes: grant.scopes ?? ["read", "write", "admin"],
      expiresInS: grant.expiresInS ?? 600,
    }, grant.now ?? new Date());
  }

  request(path: string, init: RequestInit = {}, token: string | null = this.token): Promise<Response> {
    const headers = new Headers(init.headers);
    if (token !== null) headers.set("authorization", `Bearer ${token}`);
    return Promise.resolve(this.#app.fetch(new Request(`http://control${path}`, { ...init, headers })));
  }

  async query(
    query: string,
    variables: Record<string, unknown> = {},
    token = this.token,
  ): Promise<GraphqlAnswer> {
    const response = await this.request("/graphql", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ query, variables }),
    }, token);
    return await response.json() as GraphqlAnswer;
  }

  /** For what must succeed. */
  async ask(
    query: string,
    variables: Record<string, unknown> = {},
    token = this.token,
  ): Promise<GraphqlAnswer["data"]> {
    const answer = await this.query(query, variables, token);
    if (answer.errors !== undefined) throw new Error(JSON.stringify(answer.errors));
    return answer.data;
  }

  /** For what must fail: the error's code. */
  async codeOf(query: string, variables: Record<string, unknown> = {}, token = this.token): Promise<string> {
    return (await this.query(query, variables, token)).errors?.[0]?.extensions.code ?? "none";
  }

  async createApp(name: string): Promise<void> {
    await this.ask(CREATE_APP, { input: { name } });
  }

  async close(): Promise<void> {
    this.redis.disconnect();
    await this.store.close();
    await this.stopRedis?.();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

export const CREATE_APP = `mutation ($input: CreateAppInput!) {
  createApp(input: $input) { app { id name hostname url status organization { slug } } } }`;
export const DEPLOY = `mutation ($input: DeployImageInput!) {
  deployImage(input: $input) { release { id rowId version status image imageDigest services } } }`;
export const RELEASE = `query ($id: String!) { release(id: $id) {
  status version imageDigest finishedAt error { code fault retryable message hint } progress { at message } } }`;
