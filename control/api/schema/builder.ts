/** The schema builder that all types of the GraphQL API hang on. Fields are not null unless they say so. */
import SchemaBuilder from "@pothos/core";
import RelayPlugin from "@pothos/plugin-relay";
import { GraphQLError } from "graphql";
import type { RequestContext } from "../context.ts";

export const builder = new SchemaBuilder<{
  Context: RequestContext;
  DefaultFieldNullability: false;
  DefaultEdgesNullability: false;
  DefaultNodeNullability: false;
  Scalars: {
    DateTime: { Input: Date; Output: Date };
    JSON: { Input: unknown; Output: unknown };
  };
}>({
  plugins: [RelayPlugin],
  defaultFieldNullability: false,
  relay: {
    clientMutationId: "omit",
    cursorType: "String",
    brandLoadedObjects: true,
    edgesFieldOptions: { nullable: false },
    nodeFieldOptions: { nullable: false },
    nodesQueryOptions: false,
    nodeQueryOptions: { nullable: true },
  },
});

builder.scalarType("DateTime", {
  description: "A time in ISO 8601, in UTC.",
  serialize: (date) => date.toISOString(),
  parseValue: (value) => {
    const date = new Date(String(value));
    if (Number.isNaN(date.getTime())) throw new GraphQLError("not a time in ISO 8601");
    return date;
  },
});
builder.scalarType("JSON", { description: "Any JSON value.", serialize: (value) => value });
