/** The edge runs on Bun and on Deno because only this folder knows either. */
import { expect, test } from "bun:test";
import { Glob } from "bun";
import { join } from "node:path";

const edge = join(import.meta.dir, "..");
/** Names in code; words in comments are nobody's dependency. */
const named = /\bBun\.|["']bun(:[a-z]+)?["']|\bDeno\.|import\.meta\.(dir|file)\b/;

test("no file outside edge/runtime names Bun or Deno", async () => {
  const found: string[] = [];
  for await (const file of new Glob("**/*.ts").scan({ cwd: edge })) {
    if (file.startsWith("runtime/") || /\.(test|long|fixture|contract)\.ts$/.test(file)) continue;
    const code = (await Bun.file(join(edge, file)).text()).replaceAll(/\/\*[^]*?\*\/|\/\/.*$/gm, "");
    if (named.test(code)) found.push(file);
  }
  expect(found).toEqual([]);
});
