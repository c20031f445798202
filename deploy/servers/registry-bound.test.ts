import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pushLayout } from "../../control/cli/build/push-layout.ts";
import { writeImage } from "../../control/worker/images/oci-layout.fixture.ts";
import { freePort, newPassword } from "./child.ts";
import { startRegistry } from "./registry.ts";
import { registryBytes, TAGS_KEPT_MAX } from "./registry-bound.ts";

const PUSHES = TAGS_KEPT_MAX + 2;
const LAYER_BYTES = 200_000;

test(
  "startRegistry() beyond its bound keeps the newest tags of each repository and frees the rest",
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "godwit-registry-"));
    try {
      const options = {
        folder: join(folder, "registry"),
        port: await freePort(),
        password: newPassword(),
        logFile: join(folder, "registry.log"),
      };
      let server = await startRegistry(options);
      for (let n = 0; n < PUSHES; n++) {
        const layout = join(folder, `layout-${n}`);
        const content = crypto.getRandomValues(new Uint8Array(65_536));
        await writeImage(layout, "v1", {
          layers: [[{ name: "file", content: Buffer.concat([content, content, content, content]) }]],
          config: {},
        });
        await pushLayout({
          source: `oci:${layout}:v1`,
          name: `app:v${n}`,
          registry: { host: server.host, authFile: server.authFile, insecure: true },
          tempFolder: folder,
        });
      }
      await server.stop();
      const before = registryBytes(options.folder);
      expect(before).toBeGreaterThan(PUSHES * LAYER_BYTES);

      server = await startRegistry({ ...options, bytesMax: before - 1 });
      const authorization = `Basic ${Buffer.from(`godwit:${options.password}`).toString("base64")}`;
      const list = await fetch(`http://${server.host}/v2/app/tags/list`, { headers: { authorization } });
      const { tags } = await list.json() as { tags: string[] };
      expect(tags.sort()).toEqual(
        Array.from({ length: TAGS_KEPT_MAX }, (_, n) => `v${n + PUSHES - TAGS_KEPT_MAX}`),
      );
      expect(registryBytes(options.folder)).toBeLessThan(before - LAYER_BYTES);
      await server.stop();
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
  60_000,
);
