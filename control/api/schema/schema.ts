/** The GraphQL schema, put together from the types that the imports below define. */
import { builder } from "./builder.ts";
import "./organization.ts";
import "./app.ts";
import "./release.ts";
import "./machine.ts";
import "./query.ts";
import "./mutation.ts";

export const schema = builder.toSchema();
