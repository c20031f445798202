import { expect, test } from "bun:test";
import { GodwitError } from "../../contract/errors.ts";
import { ImageTree } from "./image-tree.ts";
import { tarEntry } from "./tar-entry.fixture.ts";
import type { TarEntry } from "./tar-reader.ts";

const file = (name: string, size = 0) => tarEntry({ name, type: "file", size });
const folder = (name: string) => tarEntry({ name, type: "directory" });
const symlink = (name: string, linkname: string) => tarEntry({ name, type: "symlink", linkname });
const hardlink = (name: string, linkname: string) => tarEntry({ name, type: "link", linkname });

function admit(layers: TarEntry[][], limits = { bytesMax: 1_000, filesMax: 100 }): GodwitError | null {
  const entries = new ImageTree("reg/app:v1", limits);
  try {
    layers.forEach((layer, i) => {
      for (const entry of layer) entries.admit({ number: i + 1, digest: `sha256:layer${i + 1}` }, entry);
    });
    return null;
  } catch (error) {
    if (error instanceof GodwitError) return error;
    throw error;
  }
}

const fine: [string, TarEntry[][]][] = [
  ["plain names and ./ names", [[folder("./"), folder("./etc/"), file("./etc/passwd"), file("usr/bin/x")]]],
  ["two dots inside a name", [[file("a..b"), file("..a"), file("...")]]],
  ["names and hard links that begin at the image's root", [[file("/ko-app/a"), hardlink("b", "/ko-app/a")]]],
  ["absolute symlinks that nothing passes through", [[symlink("etc/alternatives/vi", "/usr/bin/vim")]]],
  ["relative symlinks that stay inside", [[symlink("a/b/c", "../../x"), symlink("bin", "usr/bin")]]],
  ["names through a relative symlink of an older layer", [[symlink("bin", "usr/bin")], [file("bin/sh")]]],
  ["a folder that replaces a symlink", [[symlink("a", "/etc")], [folder("a"), file("a/x")]]],
  ["a folder that replaces a file", [[file("a")], [folder("a"), file("a/x")]]],
  ["a symlink that was whited out", [[symlink("a", "/etc")], [file(".wh.a")], [file("a/x")]]],
  ["a symlink under an opaque folder", [[symlink("d/a", "/etc")], [file("d/.wh..wh..opq"), file("d/a/x")]]],
  ["hard links inside", [[file("a"), hardlink("b", "a"), hardlink("c/d", "./a")]]],
];
test.each(fine)("admit() takes %s", (_title, layers) => {
  expect(admit(layers)?.message).toBeUndefined();
});

const unsafe: [string, TarEntry[][], string][] = [
  ["a name that climbs", [[file("../etc/passwd")]], "../etc/passwd"],
  ["a name that climbs in the middle", [[file("a/../../etc/passwd")]], "climbs"],
  ["a NUL", [[file("a\0b")]], "NUL"],
  ["an overlong name", [[file("a/".repeat(3_000))]], "too long"],
  ["a symlink out of the image", [[symlink("a/b", "../../etc/passwd")]], "out of the image"],
  ["a file through an absolute symlink", [[symlink("a", "/etc"), file("a/passwd")]], "passes through"],
  ["the same over two layers", [[symlink("a", "/etc")], [file("a/passwd")]], "layer 2"],
  ["a chain of symlinks", [[symlink("a", "b"), symlink("b", "/etc"), file("a/x")]], "passes through"],
  ["a loop of symlinks", [[symlink("a", "b"), symlink("b", "a"), file("a/x")]], "loop"],
  ["a symlink that climbs by way of another", [
    [folder("x/y"), symlink("deep", "x/y"), symlink("deep/l", "../../.."), file("z")],
  ], "out of the image"],
  ["a climb through a link to a higher folder", [
    [symlink("a/b/up", "../.."), symlink("a/b/up2", "up/.."), file("a/b/up2/x")],
  ], "out of the image"],
  ["a hard link to a climbing name", [[hardlink("a", "../../etc/shadow")]], "hard link"],
  ["a hard link through a symlink", [[symlink("a", "/etc"), hardlink("b", "a/shadow")]], "passes through"],
  ["a hard link that lifts a symlink", [[symlink("a/b", "../x"), hardlink("c", "a/b")]], "out of the image"],
  ["a hard link to nothing", [[hardlink("a", "b")]], "not there"],
  ["a hard link to a folder", [[folder("a"), hardlink("b", "a")]], "to the folder"],
  ["a name below a file", [[file("a"), file("a/b")]], "no folder"],
  ["a name that no file system has room for", [[file("a".repeat(256))]], "longer than 255"],
  ["a name that lies too deep", [[file("a/".repeat(300) + "b")]], "folders deep"],
  ["a whiteout of ..", [[file("a/.wh...")]], "whiteout"],
  ["a whiteout through a symlink", [[symlink("a", "/etc"), file("a/.wh.passwd")]], "passes through"],
];
test.each(unsafe)("admit() refuses %s", (_title, layers, words) => {
  const error = admit(layers);
  expect(error?.code).toBe("image.layer_unsafe");
  expect(error?.fault).toBe("app");
  expect(error?.message).toContain(words);
  expect(error?.message).toContain("sha256:layer");
});

test("admit() counts files and bytes over all layers", () => {
  expect(admit([[file("a"), file("b")], [file("c")]], { bytesMax: 10, filesMax: 2 })?.code).toBe(
    "image.too_many_files",
  );
  expect(admit([[file("a", 6)], [file("b", 5)]], { bytesMax: 10, filesMax: 2 })?.code).toBe(
    "image.too_large",
  );
});
