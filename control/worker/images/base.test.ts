import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, mkdirSync, readlinkSync, statSync } from "node:fs";
import { join } from "node:path";
import {
  failureOf,
  listTree,
  openTestStore,
  sh,
  type TestStore,
  withMounted,
  withSmallDisk,
} from "./image-test.fixture.ts";
import {
  digestOf,
  type FixtureEntry,
  type FixtureImage,
  OciLayout,
  tarOf,
  writeImage,
} from "./oci-layout.fixture.ts";

// Everything here runs real tools, on a machine that may be busy.
setDefaultTimeout(60_000);

let t: TestStore;
let layout: string;
beforeEach(async () => {
  t = await openTestStore();
  layout = join(t.folder, "layout");
});
afterEach(() => t.remove());

async function ensure(image: FixtureImage): Promise<string> {
  await writeImage(layout, "v1", image);
  const { digest } = await t.store.ensure(`oci:${layout}:v1`);
  return t.store.find(digest)!.file;
}
async function refusal(image: FixtureImage) {
  await writeImage(layout, "v1", image);
  const error = await failureOf(t.store.ensure(`oci:${layout}:v1`));
  expect([...t.leftovers(), ...t.bases()]).toEqual([]);
  return error;
}

const folder = (name: string, more: Partial<FixtureEntry> = {}): FixtureEntry => ({
  name,
  type: "directory",
  ...more,
});

test("ensure() keeps owners, modes, times, links, devices and xattrs", async () => {
  const file = await ensure({
    layers: [[
      folder("home/", { uid: 1_000, gid: 1_001, mode: 0o750 }),
      { name: "home/a", content: "abc", uid: 1_000, gid: 1_001, mode: 0o4755 },
      { name: "home/b", type: "link", linkname: "home/a" },
      { name: "home/c", type: "symlink", linkname: "/home/a" },
      { name: "null", type: "character-device", devmajor: 1, devminor: 3, mode: 0o666 },
      { name: "fifo", type: "fifo", mode: 0o600 },
      folder("tmp/", { mode: 0o1777 }),
      { name: "x", content: "", pax: { "SCHILY.xattr.user.note": "hello" } },
    ]],
  });
  await withMounted(file, async (root) => {
    expect(await listTree(root)).toEqual([
      "c 666 0:0 0 1  null",
      "d 1777 0:0 tmp",
      "d 750 1000:1001 home",
      "f 4755 1000:1001 3 2  home/a",
      "f 4755 1000:1001 3 2  home/b",
      "f 644 0:0 0 1  x",
      "l 777 0:0 7 1 /home/a home/c",
      "p 600 0:0 0 1  fifo",
    ]);
    expect(statSync(join(root, "home/a")).ino).toBe(statSync(join(root, "home/b")).ino);
    expect(statSync(join(root, "home/a")).mtimeMs).toBe(1_700_000_000_000);
    expect(readlinkSync(join(root, "home/c"))).toBe("/home/a");
    expect(statSync(root).mode & 0o7777).toBe(0o755);
    const xattrs = await sh([
      "python3",
      "-c",
      `import os; print(os.getxattr(${JSON.stringify(join(root, "x"))}, "user.note"))`,
    ]);
    expect(xattrs.trim()).toBe("b'hello'");
  });
});

test("ensure() applies whiteouts and opaque folders over several layers as a reader of layer.md would", async () => {
  const f = (name: string, content = name): FixtureEntry => ({ name, content });
  const file = await ensure({
    layers: [
      [
        folder("a/"),
        f("a/1"),
        f("a/2"),
        folder("b/"),
        f("b/1"),
        folder("b/deep/"),
        f("b/deep/x"),
        f("gone"),
        f("kind"),
      ],
      [f("a/.wh.1"), f(".wh.gone"), folder("b/"), f("b/.wh..wh..opq"), f("b/2"), f("c/implicit")],
      // An opaque marker hides only older layers, wherever it stands among the entries of its own.
      [f("b/3"), f("b/.wh..wh..opq"), f("gone", "again"), folder("kind/"), f("kind/inside"), f("a/1", "new")],
      [f(".wh.c"), f(".wh.never-there")],
    ],
  });
  await withMounted(file, async (root) => {
    expect((await listTree(root)).map((line) => `${line[0]} ${line.split(" ").at(-1)}`).sort()).toEqual([
      "d a",
      "d b",
      "d kind",
      "f a/1",
      "f a/2",
      "f b/3",
      "f gone",
      "f kind/inside",
    ].sort());
    expect(await Bun.file(join(root, "gone")).text()).toBe("again");
    expect(await Bun.file(join(root, "a/1")).text()).toBe("new");
  });
});

test("ensure() writes through a relative symlink of an older layer inside the image", async () => {
  const file = await ensure({
    layers: [[folder("usr/"), folder("usr/bin/"), { name: "bin", type: "symlink", linkname: "usr/bin" }], [
      { name: "bin/sh", content: "sh" },
    ]],
  });
  await withMounted(file, async (root) => expect(await Bun.file(join(root, "usr/bin/sh")).text()).toBe("sh"));
});

test("ensure() accepts an image without layers", async () => {
  const file = await ensure({ layers: [] });
  expect(await withMounted(file, listTree)).toEqual([]);
});

test("ensure() reads an entry name that begins with / from the image's root", async () => {
  const file = await ensure({
    layers: [[{ name: "/ko-app/", type: "directory" }, { name: "/ko-app/a", content: "x" }]],
  });
  expect(await withMounted(file, (root) => Bun.file(join(root, "ko-app/a")).text())).toBe("x");
});

test.each(["../escape", "a/../../escape"])("ensure() refuses the entry name %s", async (name) => {
  // tar-stream's writer keeps names as they are given.
  const error = await refusal({ layers: [[{ name: "fine", content: "" }], [{ name, content: "bad" }]] });
  expect(error.code).toBe("image.layer_unsafe");
  expect(error.message).toContain(`entry "${name}" of layer 2 (sha256:`);
});

test("ensure() refuses to write through a symlink out of the image, and writes nothing there", async () => {
  const victim = join(t.folder, "victim");
  mkdirSync(victim);
  const error = await refusal({
    layers: [[{ name: "way", type: "symlink", linkname: victim }], [{ name: "way/pwned", content: "bad" }]],
  });
  expect(error.code).toBe("image.layer_unsafe");
  expect(await listTree(victim)).toEqual([]);
});

test("ensure() tells a damaged layer by its digest", async () => {
  const error = await refusal({
    layers: [[{ name: "a", content: "x".repeat(5_000) }]],
    damage: (layer) => layer.map((byte, i) => i === layer.length >> 1 ? byte ^ 0xff : byte),
  });
  expect(error).toMatchObject({ code: "image.digest_mismatch", retryable: true });
  const cut = await refusal({
    layers: [[{ name: "a", content: "abc" }]],
    damage: (layer) => layer.subarray(0, 20),
  });
  expect(cut.code).toBe("image.digest_mismatch");
});

test("ensure() tells a layer that is no tar, and one that is not what the config says", async () => {
  const noise = new Uint8Array(2_048).fill(0x61);
  expect((await refusal({ layers: [noise] })).code).toBe("image.layer_corrupt");
  const cut = (await tarOf([{ name: "a", content: "x".repeat(5_000) }])).subarray(0, 1_024);
  expect((await refusal({ layers: [cut], compression: "none" })).code).toBe("image.layer_corrupt");
});

test("ensure() refuses a layer that unpacks to something else than its config says", async () => {
  const oci = await OciLayout.create(layout);
  const layer = await tarOf([{ name: "a", content: "a" }]);
  const config = new TextEncoder().encode(JSON.stringify({
    os: "linux",
    architecture: "amd64",
    rootfs: { type: "layers", diff_ids: [digestOf(new Uint8Array(1))] },
  }));
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  const manifest = new TextEncoder().encode(JSON.stringify({
    schemaVersion: 2,
    config: {
      mediaType: "application/vnd.oci.image.config.v1+json",
      digest: digestOf(config),
      size: config.length,
    },
    layers: [{
      mediaType: "application/vnd.oci.image.layer.v1.tar",
      digest: digestOf(layer),
      size: layer.length,
    }],
  }));
  for (const blob of [layer, config, manifest]) await oci.writeBlob(digestOf(blob), blob);
  await oci.tag("v1", { digest: digestOf(manifest), size: manifest.length, mediaType });
  const error = await failureOf(t.store.ensure(`oci:${layout}:v1`));
  expect(error.code).toBe("image.digest_mismatch");
  expect(error.message).toContain("its config says");
});

test("ensure() refuses what is too large before and while it reads", async () => {
  t.remove();
  t = await openTestStore({ image_mb_max: 1 });
  layout = join(t.folder, "layout");
  const zeros = new Uint8Array(40 * 1_048_576); // packs to a few KB
  expect((await refusal({ layers: [[{ name: "bomb", content: zeros }]] })).code).toBe("image.too_large");
  const noise = crypto.getRandomValues(new Uint8Array(65_536));
  const large = Array.from({ length: 20 }, (_, i) => ({ name: `${i}`, content: noise }));
  expect((await refusal({ layers: [large], compression: "none" })).code).toBe("image.too_large");
});

test("ensure() refuses a media type that it does not know", async () => {
  const oci = await OciLayout.create(layout);
  const { digest } = await oci.add({ layers: [[{ name: "a", content: "" }]] });
  const manifest = JSON.parse(await Bun.file(oci.blobFile(digest)).text());
  manifest.layers[0].mediaType = "application/vnd.example.layer.v1.tar+brotli";
  const bytes = new TextEncoder().encode(JSON.stringify(manifest));
  await oci.writeBlob(digestOf(bytes), bytes);
  await oci.tag("v1", { digest: digestOf(bytes), size: bytes.length, mediaType: manifest.mediaType });
  const error = await failureOf(t.store.ensure(`oci:${layout}:v1`));
  expect(error.code).toBe("image.unsupported");
  expect(error.message).toContain("brotli");
});

// 8 MB of noise need 8 MB fetched, 8 MB unpacked where they are packed, then 8 MB for the base.
test.each([[6, "fetch", "none"], [11, "make the base of", "none"], [11, "unpack", "gzip"]] as const)(
  "ensure() says that a disk of %d MB is full, at the stage it met it (%s), and leaves nothing",
  async (mb, stage, compression) => {
    const content = crypto.getRandomValues(new Uint8Array(65_536));
    const parts = Array.from(
      { length: 128 },
      (_, i) => ({ name: `${i}`, content: content.map((b) => b ^ i) }),
    );
    await writeImage(layout, "v1", { layers: [parts], compression });
    await withSmallDisk(mb, async (disk) => {
      const small = await openTestStore({ folder: disk });
      const error = await failureOf(small.store.ensure(`oci:${layout}:v1`));
      expect(error).toMatchObject({ code: "image.disk_full", fault: "us", retryable: true });
      expect(error.message).toContain(`Cannot ${stage}`);
      expect(error.message).toContain(`MB free of ${mb} MB`);
      const empty = ["bases", "blobs", "blobs/sha256", "work"].map((name) => `d 700 0:0 ${name}`);
      expect(await listTree(disk)).toEqual(empty);
      small.remove();
    });
  },
);

test("ensure() works where the state folder is readable by root alone", async () => {
  chmodSync(t.folder, 0o700);
  expect(statSync(await ensure({ layers: [[{ name: "a", content: "" }]] })).mode & 0o777).toBe(0o444);
});
