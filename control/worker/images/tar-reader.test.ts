import { expect, test } from "bun:test";
import fc from "fast-check";
import { type FixtureEntry, tarOf } from "./oci-layout.fixture.ts";
import { type TarEntry, TarReader } from "./tar-reader.ts";

function read(tar: Uint8Array, pieces: readonly number[] = []): TarEntry[] {
  const entries: TarEntry[] = [];
  const reader = new TarReader((entry) => entries.push(entry));
  let at = 0;
  for (const bytes of pieces) {
    reader.push(tar.subarray(at, at + bytes));
    at += bytes;
  }
  reader.push(tar.subarray(Math.min(at, tar.length)));
  reader.end();
  return entries;
}

const everything: FixtureEntry[] = [
  { name: "folder/", type: "directory", mode: 0o1777 },
  { name: "folder/file", content: "x".repeat(1_000), uid: 5, gid: 6, mode: 0o4755 },
  { name: "empty", content: "" },
  { name: `${"deep/".repeat(60)}name`, content: "long names are records of an extended header" },
  { name: "link", type: "link", linkname: "folder/file" },
  { name: "symlink", type: "symlink", linkname: `/${"t".repeat(200)}` },
  { name: "device", type: "character-device", devmajor: 5, devminor: 1 },
  {
    name: "noted",
    content: "x",
    pax: { "SCHILY.xattr.user.a": "b=c d", mtime: "1700000000.25", uid: "3000000000" },
  },
  { name: "taken-back", content: "x", pax: { "SCHILY.xattr.user.a": "" } },
];

test("TarReader tells each entry and where its content stands", async () => {
  const tar = await tarOf(everything);
  const entries = read(tar);
  expect(entries.map((entry) => entry.type)).toEqual([
    "directory",
    "file",
    "file",
    "file",
    "link",
    "symlink",
    "character",
    "file",
    "file",
  ]);
  expect(entries[1]).toMatchObject({ uid: 5, gid: 6, mode: 0o4755, size: 1_000, mtimeS: 1_700_000_000 });
  expect(entries[3]?.name).toBe(`${"deep/".repeat(60)}name`);
  expect(entries[4]?.linkname).toBe("folder/file");
  expect(entries[5]?.linkname).toBe(`/${"t".repeat(200)}`);
  expect(entries[6]).toMatchObject({ devmajor: 5, devminor: 1, size: 0 });
  expect(entries[7]).toMatchObject({ mtimeS: 1_700_000_000, mtimeNs: 250_000_000, uid: 3_000_000_000 });
  expect(Buffer.from(entries[7]!.xattrs.get("user.a")!).toString()).toBe("b=c d");
  expect(entries[8]?.xattrs.size).toBe(0);
  for (const [i, { content }] of everything.entries()) {
    if (typeof content !== "string") continue;
    const { offset, size } = entries[i]!;
    expect(Buffer.from(tar.subarray(offset, offset + size)).toString()).toBe(content);
  }
});

test("TarReader tells the same however the bytes are cut", async () => {
  const tar = await tarOf(everything);
  const whole = read(tar);
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 1_500 }), { maxLength: 40 }), (pieces) => {
      expect(read(tar, pieces)).toEqual(whole);
    }),
    { numRuns: 100 },
  );
});

test("TarReader reads what GNU tar writes: long names, base 256", async () => {
  const name = `gnu/${"n".repeat(150)}`;
  const script = "import sys, tarfile, io\n" +
    "t = tarfile.open(fileobj=sys.stdout.buffer, mode='w|', format=tarfile.GNU_FORMAT)\n" +
    `i = tarfile.TarInfo('${name}'); i.size = 3; i.uid = 4000000000; i.mtime = 1700000000\n` +
    "t.addfile(i, io.BytesIO(b'abc')); t.close()";
  const child = Bun.spawn(["python3", "-c", script], { stdout: "pipe" });
  const tar = new Uint8Array(await new Response(child.stdout).arrayBuffer());
  expect(read(tar)).toMatchObject([{ name, uid: 4_000_000_000, size: 3 }]);
});

test("TarReader takes an archive whose last blocks of zeros are missing, and refuses one that is cut", async () => {
  const tar = await tarOf([{ name: "a", content: "x".repeat(600) }]);
  expect(read(tar.subarray(0, 512 + 1_024)).length).toBe(1);
  expect(() => read(tar.subarray(0, 512 + 600))).toThrow("in the middle");
  expect(() => read(tar.subarray(0, 300))).toThrow("in the middle");
});

test("TarReader refuses what it cannot read right, in words", async () => {
  const tar = await tarOf([{ name: "a", content: "x" }]);
  expect(() => read(tar.map((byte, i) => i === 0 ? byte ^ 1 : byte))).toThrow("checksum");
  expect(() => read(new Uint8Array(1_024).fill(0x61))).toThrow("checksum");
  const sparse = await tarOf([{ name: "a", content: "x", pax: { "GNU.sparse.major": "1" } }]);
  expect(() => read(sparse)).toThrow("sparse");
  const size = await tarOf([{ name: "a", content: "", pax: { size: "-1" } }]);
  expect(() => read(size)).toThrow("size=");
});

test("TarReader ends with words or with entries, whatever bytes come", async () => {
  const tar = await tarOf(everything);
  let refused = 0;
  fc.assert(
    fc.property(fc.integer({ min: 0, max: tar.length - 1 }), fc.integer({ min: 1, max: 255 }), (at, flip) => {
      try {
        read(tar.map((byte, i) => i === at ? byte ^ flip : byte));
      } catch (error) {
        refused += 1;
        expect((error as Error).message).toMatch(/[a-z]+ [a-z]+/);
        expect(error).not.toBeInstanceOf(TypeError);
        expect(error).not.toBeInstanceOf(RangeError);
      }
    }),
    { numRuns: 1_000 },
  );
  expect(refused).toBeGreaterThan(100);
});
