/** One black-box suite, every runtime. A case that a runtime cannot do is skipped with the reason in its title. */
import { afterAll, beforeAll, describe, test } from "bun:test";
import { existsSync } from "node:fs";
import { RUNTIMES } from "../workers/workers.fixture.ts";
import { EdgeProcess, type RuntimeName } from "./conformance.fixture.ts";
import { life } from "./life.contract.ts";
import { messages } from "./messages.contract.ts";
import { refusals } from "./refusals.contract.ts";

for (const runtime of Object.keys(RUNTIMES) as RuntimeName[]) {
  describe(`an edge on ${runtime}`, () => {
    if (!existsSync(RUNTIMES[runtime][0]!)) {
      return void test.skip(`skipped: there is no ${runtime} here`, () => {});
    }
    let edge: EdgeProcess;
    beforeAll(async () => {
      edge = await EdgeProcess.start(runtime);
    }, 60_000);
    afterAll(async () => void await edge.stop("SIGKILL"));
    for (const one of [...messages, ...refusals, ...life]) {
      const reason = one.skip?.[runtime];
      if (reason === undefined) test(one.name, () => one.run(edge), 30_000);
      else test.skip(`${one.name} (${reason})`, () => {});
    }
  });
}
