/** The base beside what umoci makes of the same layers, file by file. */
import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import fc from "fast-check";
import { join } from "node:path";
import { describeTree, openTestStore, sh, type TestStore, withMounted } from "../image-test.fixture.ts";
import { type FixtureEntry, writeImage } from "../oci-layout.fixture.ts";

const RUNS = 15;
const OPAQUE = ".wh..wh..opq";
setDefaultTimeout(120_000);

let t: TestStore;
beforeEach(async () => void (t = await openTestStore()));
afterEach(() => t.remove());

let images = 0;
/** Both trees of an image of these layers. */
async function bothOf(layers: readonly (readonly FixtureEntry[])[]): Promise<[string[], string[]]> {
  const name = `image-${images += 1}`;
  const layout = join(t.folder, name);
  await writeImage(layout, "v1", { layers });
  const { digest } = await t.store.ensure(`oci:${layout}:v1`);
  const unpacked = join(t.folder, `${name}-umoci`);
  await sh(["umoci", "raw", "unpack", "--image", `${layout}:v1`, unpacked]);
  // umoci gives a folder that no layer names the time of its unpacking, and now and then one below an opaque folder too.
  const opaque = layers.flat().map(({ name }) => name).filter((name) => name.endsWith(OPAQUE))
    .map((name) => name.slice(0, -OPAQUE.length));
  const named = new Set(
    layers.flat().map(({ name }) => name.replace(/\/$/, "")).filter((name) =>
      opaque.every((above) => !name.startsWith(above))
    ),
  );
  const base = t.store.find(digest)!.file;
  await sh(["fsck.erofs", base]);
  const ours = await withMounted(base, (root) => describeTree(root, (n) => named.has(n)));
  return [ours, await describeTree(unpacked, (n) => named.has(n))];
}

const folder = (name: string, more: Partial<FixtureEntry> = {}): FixtureEntry => ({
  name: `${name}/`,
  type: "directory",
  ...more,
});

test("writeBase() makes of every kind of entry what umoci makes of it", async () => {
  const noise = (bytes: number) => crypto.getRandomValues(new Uint8Array(Math.min(bytes, 65_536)));
  const sizes = [0, 1, 2_047, 2_048, 2_049, 4_095, 4_096, 4_097, 6_143, 6_144, 6_145, 8_192, 65_536];
  const [ours, umoci] = await bothOf([
    [
      folder("sizes", { mode: 0o1777 }),
      ...sizes.map((bytes) => ({ name: `sizes/${bytes}`, content: noise(bytes) })),
      { name: "sizes/large", content: new Uint8Array(5_000_000).map((_, i) => i * 7 >> 8) },
      folder("many"),
      ...Array.from(
        { length: 700 },
        (_, i) => ({ name: `many/${"n".repeat(i % 240)}-${i}`, content: `${i}` }),
      ),
      { name: "owned", content: "x", uid: 4_000_000, gid: 3_000_000, mode: 0o6755 },
      { name: "linked", type: "link", linkname: "owned" },
      { name: "short", type: "symlink", linkname: "owned", uid: 7, gid: 8 },
      { name: "long", type: "symlink", linkname: `/${"l".repeat(3_900)}` },
      { name: "tty", type: "character-device", devmajor: 5, devminor: 300 },
      { name: "disk", type: "block-device", devmajor: 259, devminor: 70_000 },
      { name: "pipe", type: "fifo" },
      {
        name: "noted",
        content: "x",
        pax: { "SCHILY.xattr.user.note": "hello", "SCHILY.xattr.user.empty": "" },
      },
      { name: "\u00fcml\u00e4ut \u2603", content: "name" },
      folder("noted-folder", { pax: { "SCHILY.xattr.user.note": "n".repeat(3_000) } }),
      { name: "noted-folder/a", content: "a" },
    ],
  ]);
  expect(ours).toEqual(umoci);
  expect(ours.length).toBeGreaterThan(720);
});

test("writeBase() keeps the bytes of a file capability", async () => {
  // cap_setuid and cap_net_raw, permitted and effective: bytes that are no UTF-8.
  const capability = Uint8Array.from([1, 0, 0, 2, 0x80, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
  const record = Buffer.concat([
    Buffer.from("SCHILY.xattr.security.capability="),
    capability,
    Buffer.from("\n"),
  ]);
  const length = record.length + 3;
  const pax = Buffer.concat([Buffer.from(`${length} `), record]);
  const layout = join(t.folder, "capability");
  await writeImage(layout, "v1", { layers: [tarWithPax(pax, "ping")] });
  const { digest } = await t.store.ensure(`oci:${layout}:v1`);
  const [line = ""] = await withMounted(t.store.find(digest)!.file, (root) => describeTree(root));
  expect(line).toContain(Buffer.from(capability).toString("hex"));
  await sh(["umoci", "raw", "unpack", "--image", `${layout}:v1`, join(t.folder, "capability-umoci")]);
  expect(await describeTree(join(t.folder, "capability-umoci"))).toEqual([line]);
});

/** What tar-stream cannot write: an extended header of any bytes. */
function tarWithPax(pax: Uint8Array, name: string): Uint8Array {
  const header = (entry: string, typeflag: string, size: number) => {
    const block = Buffer.alloc(512);
    block.write(entry, 0);
    const octal = (value: number, digits: number) => value.toString(8).padStart(digits, "0");
    block.write(
      `${octal(0o755, 7)}\0${octal(0, 7)}\0${octal(0, 7)}\0${octal(size, 11)}\0${octal(1_700_000_000, 11)}\0`,
      100,
    );
    block.write(`        ${typeflag}`, 148);
    block.write("ustar\x0000", 257);
    const sum = block.reduce((a, b) => a + b, 0);
    block.write(`${octal(sum, 6)}\0 `, 148);
    return block;
  };
  const body = Buffer.alloc(Math.ceil(pax.length / 512) * 512);
  body.set(pax);
  return new Uint8Array(
    Buffer.concat([header("pax", "x", pax.length), body, header(name, "0", 0), Buffer.alloc(1_024)]),
  );
}

const part = fc.constantFrom("a", "b", "c");
const path = fc.array(part, { minLength: 1, maxLength: 3 }).map((parts) => parts.join("/"));
const change = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ name: path, content: fc.constantFrom("", "one", "two".repeat(2_000)) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      name: path.map((name) => `${name}/`),
      type: fc.constant("directory" as const),
      mode: fc.constantFrom(0o700, 0o755),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      name: path,
      type: fc.constant("symlink" as const),
      linkname: fc.constantFrom("nowhere", "x"),
    }),
  },
);

/** A tree of one layer: folders before what is in them, each name once, as image builders write them. */
function layerOf(changes: readonly FixtureEntry[], hidden: readonly string[], opaque: readonly string[]) {
  const entries = new Map<string, FixtureEntry>();
  for (const entry of changes) {
    const name = entry.name.replace(/\/$/, "");
    const parents = name.split("/").slice(0, -1).map((_, i, parts) => parts.slice(0, i + 1).join("/"));
    if (entries.has(name) || parents.some((p) => entries.get(p)?.type !== "directory" && entries.has(p))) {
      continue;
    }
    if (entry.type !== "directory" && [...entries.keys()].some((other) => other.startsWith(`${name}/`))) {
      continue;
    }
    for (const parent of parents) if (!entries.has(parent)) entries.set(parent, folder(parent));
    entries.set(name, entry);
  }
  const whiteouts = hidden.filter((name) =>
    !entries.has(name) && [...entries.keys()].every((other) => !other.startsWith(`${name}/`))
  )
    .flatMap((name) => {
      const parts = name.split("/");
      const above = parts.slice(0, -1).join("/");
      // Builders hide a name in a folder that is there; what lies below a file of this layer is nowhere.
      if (above !== "" && entries.has(above) && entries.get(above)?.type !== "directory") return [];
      return [{ name: [...parts.slice(0, -1), `.wh.${parts.at(-1)}`].join("/"), content: "" }];
    });
  const marks = opaque.filter((name) => entries.get(name)?.type === "directory")
    .map((name) => ({ name: `${name}/${OPAQUE}`, content: "" }));
  return { whiteouts, marks, entries: [...entries.values()] };
}

/** Layers that hide names and whole folders, whatever else is drawn. */
const HIDING = [
  {
    changes: [{ name: "a/b", content: "one" }, { name: "b/c", content: "one" }, {
      name: "c",
      content: "one",
    }],
    hidden: [],
    opaque: [],
  },
  { changes: [{ name: "a/c", content: "two" }], hidden: ["c", "b/c"], opaque: ["a"] },
  { changes: [{ name: "b/a", content: "two" }, { name: "c", content: "" }], hidden: ["a/c"], opaque: ["b"] },
];

test("writeBase() applies any layers as umoci does", async () => {
  const layer = fc.record({
    changes: fc.array(change, { maxLength: 6 }),
    hidden: fc.uniqueArray(path, { maxLength: 2 }),
    opaque: fc.uniqueArray(path, { maxLength: 1 }),
  });
  let whiteouts = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(layer, { minLength: 1, maxLength: 4 }), async (layers) => {
      const present = new Set<string>();
      const made = layers.map(({ changes, hidden, opaque }) => {
        const one = layerOf(changes, hidden.filter((name) => present.has(name)), opaque);
        for (const entry of one.entries) present.add(entry.name.replace(/\/$/, ""));
        whiteouts += one.whiteouts.length + one.marks.length;
        return [...one.whiteouts, ...one.entries, ...one.marks];
      });
      const [ours, umoci] = await bothOf(made);
      expect(ours).toEqual(umoci);
    }),
    { numRuns: RUNS, examples: [[HIDING]] },
  );
  expect(whiteouts).toBeGreaterThanOrEqual(4);
});
