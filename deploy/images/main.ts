/** `bun run images`: builds the guest's files below GODWIT_HOME and says where they are. */
import { homedir } from "node:os";
import { join } from "node:path";
import { GodwitError, messageOf } from "../../control/contract/errors.ts";
import { buildGuest } from "./build.ts";

const json = process.argv.includes("--json");
const home = process.env.GODWIT_HOME ?? join(homedir(), ".godwit");

try {
  const files = await buildGuest({
    folder: join(home, "images"),
    onStep: (line) => console.error(line),
  });
  if (json) console.log(JSON.stringify(files));
  else for (const [name, value] of Object.entries(files)) console.log(`${name.padEnd(14)} ${value}`);
} catch (error) {
  console.error(messageOf(error));
  if (error instanceof GodwitError && error.hint !== null) console.error(`hint: ${error.hint}`);
  process.exit(1);
}
