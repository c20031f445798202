/** Error codes are public: each one that the code raises has its line in control/contract/ERRORS.md, and none stands there alone. */
import { expect, test } from "bun:test";
import { Glob } from "bun";
import { resolve } from "node:path";

const root = resolve(import.meta.dir, "../..");
const page = resolve(root, "control/contract/ERRORS.md");

/** File names are written `noun.ending` too. */
const FILE_ENDING = /\.(ts|tsx|sqlite|log|json|sock|pid|conf|img|ext4|erofs|txt|new)$/;

test("error codes: each one raised is documented, each one documented is raised", async () => {
  const text = await Bun.file(page).text();
  const documented = new Set(
    Array.from(text.matchAll(/^\| `([a-z0-9]+\.[a-z0-9_]+)` +\|/gm), (match) => match[1]!),
  );
  const families = new Set(Array.from(documented, (code) => code.slice(0, code.indexOf("."))));
  const raised = new Map<string, string>();
  for await (const file of new Glob("{edge,control,vm-init,deploy}/**/*.ts").scan({ cwd: root })) {
    if (/\.(test|long|fixture|contract)\.ts$/.test(file)) continue;
    const code = await Bun.file(resolve(root, file)).text();
    for (const match of code.matchAll(/GodwitError\(\s*"([a-z0-9]+\.[a-z0-9_]+)"/g)) {
      raised.set(match[1]!, file);
    }
    // Codes also stand in tables, apart from where they are raised.
    for (const match of code.matchAll(/"([a-z0-9]+)(\.[a-z0-9_]+)"/g)) {
      const literal = match[1]! + match[2]!;
      if (families.has(match[1]!) && !FILE_ENDING.test(literal)) raised.set(literal, file);
    }
  }
  const missing = Array.from(raised).filter(([code]) => !documented.has(code)).map(([code, file]) =>
    `${code} (${file})`
  );
  const stale = Array.from(documented).filter((code) => !raised.has(code));
  expect({ missing: missing.sort(), stale: stale.sort() }).toEqual({ missing: [], stale: [] });
});
