import { afterAll, afterEach, beforeAll, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, newPassword } from "../../../deploy/servers/child.ts";
import { type RegistryServer, startRegistry } from "../../../deploy/servers/registry.ts";
import { failureOf, openTestStore, sh, type TestStore } from "./image-test.fixture.ts";
import { digestOf, type FixtureImage, type FixtureManifest, OciLayout } from "./oci-layout.fixture.ts";
import type { ImageStoreOptions } from "./image-store.ts";
import { SIGNATURE_ANNOTATION, signatureTag } from "./signature.ts";

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

test("ensure() goes on with the layers that a broken pull has left", async () => {
  const noise = Array.from({ length: 3 }, (_, i) => [{
    name: `${i}`,
    content: crypto.getRandomValues(new Uint8Array(50_000)),
  }]);
  const { ref, images } = await push([{ layers: noise }]);
  const manifest = JSON.parse(await Bun.file(blobFile(images[0]!.digest)).text());
  const last = blobFile(manifest.layers[2].digest);
  const whole = readFileSync(last);
  rmSync(last); // the registry answers 404 for it
  expect((await failureOf(t.store.ensure(`${ref}:v1`))).code).toBe("image.not_found");
  const kept = readdirSync(join(t.folder, "images/blobs/sha256"));
  expect(kept.length).toBeGreaterThanOrEqual(2);
  // Those that were kept are asked of the registry no more: it does not have them now.
  for (const hex of kept) rmSync(blobFile(`sha256:${hex}`));
  writeFileSync(last, whole);
  const config = manifest.config.digest as string;
  if (kept.includes(config.slice("sha256:".length))) expect(kept.length).toBe(3);
  expect((await t.store.ensure(`${ref}:v1`)).digest).toBe(images[0]!.digest);
});

test("ensure() fetches of an app's next image what is new in it", async () => {
  const shared = [{ name: "shared", content: crypto.getRandomValues(new Uint8Array(60_000)) }];
  const first = await push([{ layers: [shared, [{ name: "a", content: "1" }]] }]);
  await t.store.ensure(`${first.ref}:v1`);
  const second = await push([{ layers: [shared, [{ name: "a", content: "2" }]] }]);
  const manifest = JSON.parse(await Bun.file(blobFile(second.images[0]!.digest)).text());
  rmSync(blobFile(manifest.layers[0].digest));
  expect((await t.store.ensure(`${second.ref}:v1`)).digest).toBe(second.images[0]!.digest);
});

test("ensure() does not believe a kept layer that went bad, and gets it anew", async () => {
  const shared = [{ name: "shared", content: crypto.getRandomValues(new Uint8Array(60_000)) }];
  const first = await push([{ layers: [shared, [{ name: "a", content: "1" }]] }]);
  await t.store.ensure(`${first.ref}:v1`);
  const second = await push([{ layers: [shared, [{ name: "a", content: "2" }]] }]);
  const manifest = JSON.parse(await Bun.file(blobFile(second.images[0]!.digest)).text());
  const kept = join(t.folder, "images/blobs/sha256", manifest.layers[0].digest.slice("sha256:".length));
  const bytes = readFileSync(kept);
  writeFileSync(kept, bytes.map((byte, i) => i === bytes.length >> 1 ? byte ^ 0xff : byte));
  expect(await failureOf(t.store.ensure(`${second.ref}:v1`))).toMatchObject({
    code: "image.digest_mismatch",
    retryable: true,
  });
  expect((await t.store.ensure(`${second.ref}:v1`)).digest).toBe(second.images[0]!.digest);
});

test("ensure() asks a registry's mirror first", async () => {
  const { ref, digest } = await push([hello]);
  const elsewhere = ref.replace(registry.host, "registry.invalid");
  const store = await openStore({ mirrors: { "registry.invalid": [registry.host] } });
  expect((await store.store.ensure(`${elsewhere}:v1`)).digest).toBe(digest);
  store.remove();
});

test("ensure() takes an image that must be signed once it is, under its name and by the key", async () => {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const keyFile = join(folder, "cosign.pub");
  writeFileSync(keyFile, publicKey.export({ type: "spki", format: "pem" }));
  const { ref, digest } = await push([hello]);
  const signatures = [{ prefix: registry.host, public_key_file: keyFile }];
  const store = await openStore({ signatures });
  expect((await failureOf(store.store.ensure(`${ref}:v1`))).message).toContain("has no signature");
  await pushSignature(ref, digest, privateKey);
  expect((await store.store.ensure(`${ref}:v1`)).digest).toBe(digest);
  expect((await store.store.ensure(`${ref}@${digest}`)).digest).toBe(digest);
  const other = await push([{ layers: [[{ name: "other", content: "other" }]] }]);
  await pushSignature(other.ref, digest, privateKey);
  expect((await failureOf(store.store.ensure(`${other.ref}:v1`))).code).toBe("image.unsigned");
  store.remove();
});

/** As `cosign sign --key` puts it beside the image. */
async function pushSignature(ref: string, digest: string, key: KeyObject): Promise<void> {
  const payload = Buffer.from(JSON.stringify({
    critical: {
      identity: { "docker-reference": ref },
      image: { "docker-manifest-digest": digest },
      type: "cosign container image signature",
    },
    optional: null,
  }));
  const layout = await OciLayout.create(mkdtempSync(join(folder, "signature-")));
  const config = Buffer.from(
    JSON.stringify({ os: "", architecture: "", rootfs: { type: "layers", diff_ids: [] } }),
  );
  const manifest = Buffer.from(JSON.stringify({
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: { mediaType: "application/vnd.oci.image.config.v1+json", ...described(config) },
    layers: [{
      mediaType: "application/vnd.dev.cosign.simplesigning.v1+json",
      ...described(payload),
      annotations: { [SIGNATURE_ANNOTATION]: sign("sha256", payload, key).toString("base64") },
    }],
  }));
  for (const blob of [config, payload, manifest]) await layout.writeBlob(digestOf(blob), blob);
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  await layout.tag("sig", { ...described(manifest), mediaType });
  const imageDigest = await sh([
    "skopeo",
    "inspect",
    "--raw",
    "--tls-verify=false",
    "--authfile",
    registry.authFile,
    `docker://${ref}:v1`,
  ])
    .then((raw) => digestOf(Buffer.from(raw)));
  await sh([
    ...["skopeo", "copy", "--quiet", "--insecure-policy", "--preserve-digests", "--dest-tls-verify=false"],
    ...["--dest-authfile", registry.authFile, `oci:${layout.folder}:sig`],
    `docker://${ref}:${signatureTag(imageDigest)}`,
  ]);
}

function described(bytes: Uint8Array): { digest: string; size: number } {
  return { digest: digestOf(bytes), size: bytes.length };
}
