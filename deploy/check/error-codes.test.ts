/** Error codes are public: each one that the code raises has its line in control/contract/ERRORS.md, and none stands there alone. */
import { expect, test } from "bun:test";
import { Glob } from "bun";
import { resolve } from "node:path";

const root = resolve(import.meta.dir, "../..");

test("error codes: each one raised is documented, each one documented is raised", async () => {
  const raised = new Map<string, string>();
  for await (const file of new Glob("{edge,control,vm-init,deploy}/**/*.ts").scan({ cwd: root })) {
    if (/\.(test|fixture|contract)\.ts$/.test(file)) continue;
    const text = await Bun.file(resolve(root, file)).text();
    for (const match of text.matchAll(/GodwitError\(\s*"([a-z0-9_]+\.[a-z0-9_]+)"/g)) {
      raised.set(match[1]!, file);
    }
  }
  const page = await Bun.file(resolve(root, "control/contract/ERRORS.md")).text();
  const documented = new Set(
    Array.from(page.matchAll(/^\| `([a-z0-9_]+\.[a-z0-9_]+)` \|/gm), (match) => match[1]!),
  );
  const missing = Array.from(raised).filter(([code]) => !documented.has(code)).map(([code, file]) =>
    `${code} (${file})`
  );
  const stale = Array.from(documented).filter((code) => !raised.has(code));
  expect({ missing: missing.sort(), stale: stale.sort() }).toEqual({ missing: [], stale: [] });
});
