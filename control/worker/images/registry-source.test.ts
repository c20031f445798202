import { afterAll, afterEach, beforeAll, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, newPassword } from "../../../deploy/servers/child.ts";
import { type RegistryServer, startRegistry } from "../../../deploy/servers/registry.ts";
import { failureOf, openTestStore, sh, type TestStore } from "./image-test.fixture.ts";
import { type FixtureImage, type FixtureManifest, OciLayout } from "./oci-layout.fixture.ts";
import type { ImageStoreOptions } from "./image-store.ts";

// Everything here runs real tools, on a machine that may be busy.
setDefaultTimeout(60_000);

const folder = mkdtempSync(join(tmpdir(), "godwit-registry-"));
const password = newPassword();
const absent = `sha256:${"0".repeat(64)}`;
let registry: RegistryServer;
let t: TestStore;

beforeAll(async () => {
  registry = await startRegistry({
    folder: join(folder, "registry"),
    port: await freePort(),
    password,
    logFile: join(folder, "registry.log"),
  });
});
afterAll(async () => {
  await registry.stop();
  rmSync(folder, { recursive: true, force: true });
});
beforeEach(async () => {
  t = await openStore();
});
afterEach(() => {
  expect(t.leftovers()).toEqual([]);
  t.remove();
});

function openStore(more: Partial<ImageStoreOptions> = {}): Promise<TestStore> {
  return openTestStore({ auth_file: registry.authFile, insecure_registries: [registry.host], ...more });
}

let pushed = 0;
/** A new repository with one image (or an index over several), and its reference without a tag. */
async function push(images: FixtureImage[], flags: string[] = ["--preserve-digests"]) {
  const name = `test/app${++pushed}`;
  const layout = await OciLayout.create(join(folder, name.replace("/", "-")));
  const made: FixtureManifest[] = [];
  for (const image of images) made.push(await layout.add(image));
  const [first] = made;
  const tagged = made.length > 1 ? await layout.addIndex(made) : first!;
  await layout.tag("v1", tagged);
  const target = `docker://${registry.host}/${name}:v1`;
  await sh([
    ...["skopeo", "copy", "--quiet", "--insecure-policy", "--all", ...flags, "--dest-tls-verify=false"],
    ...["--dest-authfile", registry.authFile, `oci:${layout.folder}:v1`, target],
  ]);
  return { ref: `${registry.host}/${name}`, digest: tagged.digest, images: made };
}

/** Where docker-registry keeps a blob. */
const blobFile = (digest: string) => {
  const hex = digest.slice("sha256:".length);
  return join(folder, "registry/blobs/docker/registry/v2/blobs/sha256", hex.slice(0, 2), hex, "data");
};
const hello: FixtureImage = { layers: [[{ name: "hello", content: "hello" }]], config: { User: "1000" } };

test("ensure() pulls by tag and by digest from a registry", async () => {
  const { ref, digest } = await push([hello]);
  const byTag = await t.store.ensure(`${ref}:v1`);
  expect(byTag).toMatchObject({ digest, config: { user: "1000" } });
  const other = await openStore();
  expect((await other.store.ensure(`${ref}@${digest}`)).digest).toBe(digest);
  expect((await other.store.ensure(`${ref}:ignored@${digest}`)).digest).toBe(digest);
  other.remove();
});

test("ensure() keeps the registry's digest of a docker schema 2 image", async () => {
  const { ref, digest } = await push([hello], ["--format", "v2s2"]);
  const answer = await t.store.ensure(`${ref}:v1`);
  expect(answer.digest).not.toBe(digest);
  expect((await t.store.ensure(`${ref}@${answer.digest}`)).config.user).toBe("1000");
});

test("ensure() knows an image again by the digest of its index, with the registry gone", async () => {
  const { ref, digest, images } = await push([{ ...hello, architecture: "s390x" }, hello]);
  const first = await t.store.ensure(`${ref}:v1`);
  expect(first.digest).toBe(images[1]!.digest);
  const offline = await t.reopen({ insecure_registries: [] });
  expect((await offline.ensure(`${ref}@${digest}`)).digest).toBe(first.digest);
  expect((await offline.ensure(`127.0.0.1:1/x@${first.digest}`)).digest).toBe(first.digest);
});

test("ensure() says which architecture an image in a registry has", async () => {
  const { ref } = await push([{ ...hello, architecture: "arm64" }, { ...hello, architecture: "s390x" }]);
  const error = await failureOf(t.store.ensure(`${ref}:v1`));
  expect(error.code).toBe("image.wrong_architecture");
  expect(error.message).toContain("linux/arm64, linux/s390x");
});

test("ensure() tells an unknown tag and an unknown image", async () => {
  const { ref } = await push([hello]);
  for (
    const unknown of [`${ref}:nosuch`, `${registry.host}/no/such:v1`, `${registry.host}/no/such@${absent}`]
  ) {
    const error = await failureOf(t.store.ensure(unknown));
    expect(error).toMatchObject({ code: "image.not_found", fault: "client", retryable: false });
    expect(error.message).toContain(unknown);
  }
});

test("ensure() tells a digest that the image does not have", async () => {
  const { ref } = await push([hello]);
  const error = await failureOf(t.store.ensure(`${ref}:v1@${absent}`));
  expect(error).toMatchObject({ code: "image.digest_mismatch", fault: "client" });
  expect(error.message).toContain(absent);
});

test("ensure() tells missing and wrong credentials, and shows none", async () => {
  const { ref } = await push([hello]);
  const authFile = join(folder, "wrong.json");
  writeFileSync(
    authFile,
    JSON.stringify({ auths: { [registry.host]: { auth: btoa("godwit:canary-of-auth") } } }),
  );
  for (const auth_file of [null, authFile]) {
    const error = await failureOf((await t.reopen({ auth_file })).ensure(`${ref}:v1`));
    expect(error.code).toBe("image.unauthorized");
    expect(JSON.stringify(error.toWire())).not.toMatch(/canary-of-auth|Y2FuYXJ5/);
  }
});

test("ensure() speaks plain HTTP only to the registries that are named", async () => {
  const { ref } = await push([hello]);
  const error = await failureOf((await t.reopen({ insecure_registries: [] })).ensure(`${ref}:v1`));
  expect(error.code).toBe("image.registry_insecure");
});

test("ensure() tells a registry that cannot be reached", async () => {
  const host = `127.0.0.1:${await freePort()}`;
  const store = await t.reopen({ insecure_registries: [host] });
  for (const ref of [`${host}/app:v1`, "127.0.0.1:1/app:v1", "registry.invalid/app:v1"]) {
    const error = await failureOf(store.ensure(ref));
    expect(error).toMatchObject({ code: "image.registry_unreachable", fault: "us", retryable: true });
  }
});

test("ensure() gives a registry that says nothing a limited time", async () => {
  const silent = createServer(() => {}).listen(0, "127.0.0.1");
  await new Promise((resolve) => silent.once("listening", resolve));
  const host = `127.0.0.1:${(silent.address() as { port: number }).port}`;
  const store = await t.reopen({ insecure_registries: [host], limits: { inspectMsMax: 300 } });
  expect(await failureOf(store.ensure(`${host}/app:v1`))).toMatchObject({
    code: "image.registry_timeout",
    retryable: true,
  });
  silent.close();
});

test("ensure() gives up on a registry that stops in the middle of a layer", async () => {
  const noise = crypto.getRandomValues(new Uint8Array(65_536));
  const { ref } = await push([{ layers: [[{ name: "noise", content: noise }]] }]);
  // The real registry behind a door that lets half of a layer through and then says nothing.
  const door = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    idleTimeout: 0,
    async fetch(request) {
      const url = new URL(request.url);
      const headers = new Headers(request.headers);
      headers.delete("host");
      const answer = await fetch(`http://${registry.host}${url.pathname}`, {
        headers,
        method: request.method,
      });
      const body = await answer.bytes();
      const back = new Headers(answer.headers);
      if (!url.pathname.includes("/blobs/") || body.length < 60_000) {
        return new Response(body, { ...answer, headers: back, status: answer.status });
      }
      const half = new ReadableStream({ start: (c) => c.enqueue(body.subarray(0, 30_000)) });
      return new Response(half, { headers: { "content-type": "application/octet-stream" } });
    },
  });
  const host = `127.0.0.1:${door.port}`;
  const authFile = join(folder, "door.json");
  const auths = JSON.parse(readFileSync(registry.authFile, "utf8")).auths;
  writeFileSync(authFile, JSON.stringify({ auths: { [host]: auths[registry.host] } }));
  const store = await t.reopen({
    auth_file: authFile,
    insecure_registries: [host],
    limits: { stallMsMax: 500 },
  });
  const error = await failureOf(store.ensure(`${ref.replace(registry.host, host)}:v1`));
  expect(error).toMatchObject({ code: "image.registry_timeout", retryable: true });
  expect(error.message).toContain("stopped sending");
  await door.stop(true);
});

test("ensure() tells a layer and a manifest that the registry's disk has damaged", async () => {
  const { ref, digest } = await push([{ layers: [[{ name: "a", content: "damaged layer" }]] }]);
  const manifestFile = blobFile(digest);
  const manifest = readFileSync(manifestFile, "utf8");
  const layerFile = blobFile(JSON.parse(manifest).layers[0].digest);
  const layer = readFileSync(layerFile);
  writeFileSync(layerFile, layer.map((byte, i) => i === 40 ? byte ^ 1 : byte));
  const error = await failureOf(t.store.ensure(`${ref}:v1`));
  expect(error).toMatchObject({ code: "image.digest_mismatch", retryable: true });
  writeFileSync(layerFile, layer);

  writeFileSync(manifestFile, manifest.replace("{", "{ "));
  const lied = await failureOf(t.store.ensure(`${ref}@${digest}`));
  expect(lied.code).toBe("image.digest_mismatch");
  writeFileSync(manifestFile, manifest);
  expect((await t.store.ensure(`${ref}@${digest}`)).digest).toBe(digest);
});
