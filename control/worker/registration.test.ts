/** A real agent, and the test in control's place. */
import { afterAll, expect, test } from "bun:test";
import { statSync } from "node:fs";
import { HostRegistration } from "../contract/worker-api.ts";
import { loadSigningKey } from "../publish/signing-key-file.ts";
import { publisherKeyFile } from "./host.ts";
import { TestWorker } from "./testbed.fixture.ts";

const told = Promise.withResolvers<{ path: string; token: string | null; body: unknown }>();
let refusals = 2;
const control = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  fetch: async (request) => {
    if (refusals-- > 0) return new Response("not yet", { status: 503 });
    const token = request.headers.get("authorization");
    told.resolve({ path: new URL(request.url).pathname, token, body: await request.json() });
    return new Response(null, { status: 204 });
  },
});
let worker: TestWorker | null = null;
afterAll(async () => {
  await worker?.remove();
  await control.stop(true);
}, 60_000);

test(
  "register() makes the host known with its token, and tries again where control is not ready",
  async () => {
    worker = await TestWorker.create({ control_url: control.url.href });
    await worker.start();
    const { path, token, body } = await told.promise;
    expect(path).toBe(`/internal/v1/hosts/${worker.config.host_id}`);
    expect(token).toBe(`Bearer ${worker.config.node_token}`);
    expect(HostRegistration.parse(body)).toMatchObject({
      host: { id: worker.config.host_id, region: worker.config.region, vmm: "runc" },
      url: `unix:${worker.config.listen_socket}`,
      publisher_key: loadSigningKey(publisherKeyFile(worker.config)).publicKey,
    });
    expect(statSync(publisherKeyFile(worker.config)).mode & 0o777).toBe(0o600);
  },
  60_000,
);
