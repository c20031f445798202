import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ImageStore, openImageStore } from "../../../control/worker/images/image-store.ts";
import { describeTree, sh, withMounted } from "../../../control/worker/images/image-test.fixture.ts";
import { freePort, newPassword } from "../../servers/child.ts";
import { type RegistryServer, startRegistry } from "../../servers/registry.ts";
import { nginxAsRoot, nginxAsUser } from "./nginx.ts";
import { eatsMemory, exitsWith3, ignoresSignals, servesFiles, withoutPort } from "./small.ts";

// Everything here runs real tools, on a machine that may be busy.
setDefaultTimeout(180_000);

const folder = mkdtempSync(join(tmpdir(), "godwit-e2e-"));
let registry: RegistryServer;
let store: ImageStore;

beforeAll(async () => {
  registry = await startRegistry({
    folder: join(folder, "registry"),
    port: await freePort(),
    password: newPassword(),
    logFile: join(folder, "registry.log"),
  });
  store = await openImageStore({
    folder: join(folder, "images"),
    runFolder: join(folder, "run"),
    auth_file: registry.authFile,
    insecure_registries: [registry.host],
    cache_mb_max: 1_024,
    image_mb_max: 512,
    files_max: 20_000,
  });
});
afterAll(async () => {
  await registry.stop();
  rmSync(folder, { recursive: true, force: true });
});

const target = () => ({ host: registry.host, authFile: registry.authFile, insecure: true });

test.each([exitsWith3, eatsMemory, ignoresSignals, withoutPort, servesFiles])(
  "%p makes an image that a registry and a worker take",
  async (make) => {
    const image = await make();
    const ref = await image.pushTo(target());
    const answer = await store.ensure(ref);
    expect(answer).toMatchObject({ digest: ref.split("@")[1]!, config: { env: ["PATH=/bin"] } });
    expect((await store.ensure(image.ref)).digest).toBe(answer.digest);
    await withMounted(store.find(answer.digest)!.file, async (root) => {
      expect(await Bun.file(join(root, "bin/sh")).exists()).toBe(true);
    });
  },
);

test.each([[nginxAsRoot, ""], [nginxAsUser, "www-data:www-data"]] as const)(
  "%p makes an image of several layers with whiteouts",
  async (make, user) => {
    const image = await make();
    const answer = await store.ensure(await image.pushTo(target()));
    expect(answer.config).toMatchObject({ user, stop_signal: "SIGQUIT" });
    await withMounted(store.find(answer.digest)!.file, async (root) => {
      expect(readdirSync(join(root, "usr/share"))).not.toContain("doc"); // whited out
      expect(readdirSync(join(root, "usr/share"))).toContain("base-files");
      const large = await Bun.file(join(root, "usr/share/nginx/html/large.bin")).bytes();
      expect(new Bun.CryptoHasher("sha256").update(large).digest("hex")).toBe(image.largeFile.sha256);
      // umoci gives folders that no layer names the time of its unpacking; what is wrong with files shows all the same.
      const timed = (name: string) => !statSync(join(root, name), { throwIfNoEntry: false })?.isDirectory();
      const ours = await describeTree(root, timed);
      expect(ours.length).toBeGreaterThan(100);
      const unpacked = join(folder, `umoci-${user === "" ? "root" : "user"}`);
      await sh(["umoci", "raw", "unpack", "--image", image.ref.slice("oci:".length), unpacked]);
      expect(ours).toEqual(await describeTree(unpacked, timed));
    });
  },
);
