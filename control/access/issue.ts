/**
 * Prints an access token: `bun control/access/issue.ts --config PATH [--organization personal] [--expires-in 30d]
 * [--subject operator]`. For the operator, who can read the key file; so the first token needs no token. Makes the key
 * and the organisation where missing, migrates the database, and may run before or beside the API.
 */
import { parseArgs } from "node:util";
import { GodwitError, messageOf } from "../contract/errors.ts";
import { OrgSlug } from "../contract/names.ts";
import { Store } from "../store/database.ts";
import { migrate } from "../store/migrate.ts";
import { ensureOrganization } from "../store/organizations.ts";
import { readControlConfig } from "./control-config.ts";
import { parseDuration } from "./duration.ts";
import { loadKeyPair } from "./key-file.ts";
import { issueToken } from "./token.ts";

async function issue(argv: string[]): Promise<string> {
  const { values } = parseArgs({
    args: argv,
    options: {
      config: { type: "string" },
      organization: { type: "string", default: "personal" },
      "expires-in": { type: "string", default: "30d" },
      subject: { type: "string", default: "operator" },
    },
  });
  const config = await readControlConfig(values.config);
  const slug = OrgSlug.safeParse(values.organization).data;
  if (slug === undefined) {
    throw new GodwitError(
      "access.organization_invalid",
      `Cannot issue a token for the organisation ${JSON.stringify(values.organization)}: not a slug`,
      { fault: "client", hint: "1 to 63 of a-z, 0-9 and -, starting with a letter." },
    );
  }
  const expiresInS = parseDuration(values["expires-in"]);
  const store = new Store(config.database_url);
  try {
    await migrate(store);
    await store.read((sql) => ensureOrganization(sql, slug));
  } finally {
    await store.close();
  }
  const grant = {
    subject: values.subject,
    organizations: [slug],
    scopes: ["read", "write", "admin"] as const,
    expiresInS,
  };
  return await issueToken(loadKeyPair(config.token_key_file), grant, new Date());
}

if (import.meta.main) {
  try {
    console.log(JSON.stringify({ token: await issue(process.argv.slice(2)) }));
    process.exit(0);
  } catch (error) {
    const hint = error instanceof GodwitError && error.hint !== null ? ` ${error.hint}` : "";
    console.error(`${messageOf(error)}.${hint}`);
    process.exit(1);
  }
}
