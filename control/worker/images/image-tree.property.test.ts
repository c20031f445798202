/**
 * What ImageTree admits must be harmless even to the most naive extractor, one that lets the kernel follow every symlink.
 * Such a one runs here, on a real disk, beside a folder that must stay empty.
 */
import { expect, setDefaultTimeout, test } from "bun:test";
import fc from "fast-check";
import {
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { ImageTree } from "./image-tree.ts";
import { tarEntry } from "./tar-entry.fixture.ts";
import type { TarEntry } from "./tar-reader.ts";

const RUNS = 400;
setDefaultTimeout(60_000);

const name = fc.array(fc.constantFrom("a", "b", "c"), { minLength: 1, maxLength: 3 }).map((parts) =>
  parts.join("/")
);
const climb = fc.array(fc.constantFrom("..", "a", "b", "c", "."), { minLength: 1, maxLength: 5 })
  .map((parts) => parts.join("/"));
const entry: fc.Arbitrary<Pick<TarEntry, "name" | "type" | "linkname">> = fc.oneof(
  fc.record({
    name,
    type: fc.constantFrom("file" as const, "directory" as const),
    linkname: fc.constant(""),
  }),
  fc.record({
    name,
    type: fc.constant("symlink" as const),
    linkname: fc.oneof(climb, fc.constant("/OUTSIDE")),
  }),
  fc.record({ name, type: fc.constant("link" as const), linkname: fc.oneof(name, climb) }),
);

test("admit() takes nothing by which a naive extractor writes outside", () => {
  let admitted = 0;
  let throughLinks = 0;
  fc.assert(
    fc.property(fc.array(entry, { minLength: 2, maxLength: 8 }), (entries) => {
      const folder = mkdtempSync(join(tmpdir(), "godwit-naive-"));
      const [root, outside] = [join(folder, "deep", "root"), join(folder, "outside")];
      for (const path of [root, outside]) mkdirSync(path, { recursive: true });
      try {
        const rules = new ImageTree("ref", { bytesMax: 1_000, filesMax: 1_000 });
        for (const one of entries) {
          try {
            rules.admit({ number: 1, digest: "sha256:x" }, tarEntry(one));
          } catch {
            continue; // refused, so not extracted; the rest must be harmless all the same
          }
          admitted += 1;
          if (extract(root, outside, one)) throughLinks += 1;
        }
        expect(readdirSync(outside)).toEqual([]);
        expect(readdirSync(folder).sort()).toEqual(["deep", "outside"]);
        expect(readdirSync(join(folder, "deep"))).toEqual(["root"]);
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    }),
    { numRuns: RUNS },
  );
  expect(admitted).toBeGreaterThan(RUNS);
  expect(throughLinks).toBeGreaterThan(0); // the rule is not kept by refusing every symlink
});

/** True when the name passed through a symlink. */
function extract(
  root: string,
  outside: string,
  entry: Pick<TarEntry, "name" | "type" | "linkname">,
): boolean {
  const path = join(root, entry.name);
  const kind = kindOf(path);
  let passed = false;
  for (let up = dirname(path); up.length > root.length; up = dirname(up)) passed ||= kindOf(up) === "symlink";
  try {
    mkdirSync(dirname(path), { recursive: true });
    if (kind === "symlink" || (kind !== null && entry.type !== "directory")) {
      rmSync(path, { recursive: true });
    }
    if (entry.type === "file") writeFileSync(path, "");
    else if (entry.type === "directory") mkdirSync(path, { recursive: true });
    else if (entry.type === "symlink") symlinkSync(entry.linkname.replace("/OUTSIDE", outside), path);
    else linkSync(join(root, entry.linkname), path);
    return passed;
  } catch {
    return false; // a file where a folder should be, a dangling link: no concern of this test
  }
}

function kindOf(path: string): "symlink" | "other" | null {
  try {
    return lstatSync(path).isSymbolicLink() ? "symlink" : "other";
  } catch {
    return null; // not there
  }
}
