/**
 * Dependencies point one way (DESIGN, Folders). Each forbidden edge says why it is forbidden, because the person who
 * meets this failure has a reason too.
 */
import { expect, test } from "bun:test";
import { Glob } from "bun";
import { dirname, relative, resolve } from "node:path";

const root = resolve(import.meta.dir, "../..");

interface Law {
  readonly from: RegExp;
  readonly mayImport: RegExp;
  readonly because: string;
}

const laws: Law[] = [
  {
    from: /^control\/contract\//,
    mayImport: /^control\/contract\//,
    because: "the contract is what all parts share; it can depend on none of them",
  },
  {
    from: /^edge\//,
    mayImport: /^(edge|control\/contract)\//,
    because:
      "an edge must run, and be upgraded, without the control plane's code; they meet in control/contract",
  },
  {
    from: /^vm-init\//,
    mayImport: /^(vm-init|control\/contract)\//,
    because: "vm-init is PID 1 of every VM: what it imports costs each guest memory and start time",
  },
  {
    from: /^control\/worker\//,
    mayImport: /^control\/(worker|contract|machine|publish)\//,
    because: "a worker must go on when the API is gone, so it cannot lean on the API's store",
  },
  {
    from: /^control\/(api|store|access|place)\//,
    mayImport: /^control\/(api|store|access|place|publish|machine|contract)\//,
    because: "the API knows workers only through the worker API in control/contract",
  },
  {
    from: /^control\/cli\//,
    mayImport: /^control\/(cli|contract)\//,
    because: "the CLI is a client of the public API and starts in 100 ms; a server's code would cost both",
  },
  {
    from: /^control\//,
    mayImport: /^control\//,
    because: "control is deployed without the rest; only deploy/ may start everything",
  },
];

/** Tests may start real servers, which live in deploy/servers; the code itself may not. */
const testsMayAlsoImport = /^deploy\/(servers|images)\//;

const importPattern =
  /(?:^|\n)\s*(?:import|export)\b[^;'"]*?from\s*["'](\.[^"']+)["']|import\(\s*["'](\.[^"']+)["']\s*\)/g;

test("import law: dependencies point one way", async () => {
  const broken: string[] = [];
  let files = 0;
  for await (const file of new Glob("{edge,control,vm-init,deploy}/**/*.{ts,tsx}").scan({ cwd: root })) {
    files++;
    const law = laws.find((l) => l.from.test(file));
    if (law === undefined) continue;
    const isTest = /\.(test|long|contract|fixture)\.tsx?$/.test(file);
    for (const match of (await Bun.file(resolve(root, file)).text()).matchAll(importPattern)) {
      const target = relative(root, resolve(root, dirname(file), match[1] ?? match[2] ?? ""));
      if (target === "package.json") continue; // for the version alone
      if (law.mayImport.test(target) || (isTest && testsMayAlsoImport.test(target))) continue;
      broken.push(`${file} imports ${target}: ${law.because}`);
    }
  }
  expect(files).toBeGreaterThan(20);
  expect(broken).toEqual([]);
});
