/** GraphQL over HTTP: the schema, the bounds on a query, and errors as `extensions` with the fields of WireError. */
import { GraphQLError } from "graphql";
import { createYoga, type Plugin } from "graphql-yoga";
import type { Logger } from "pino";
import { GodwitError } from "../contract/errors.ts";
import type { Metrics } from "./metrics.ts";
import type { RequestContext } from "./context.ts";
import { wireOf } from "./error-answer.ts";
import { limitsRule, QUERY_CHARS_MAX, QueryTooCostly } from "./limits.ts";
import { schema } from "./schema/schema.ts";

export type GraphqlServer = ReturnType<typeof createYoga<RequestContext>>;

export function makeGraphql(log: Logger, metrics: Metrics): GraphqlServer {
  return createYoga<RequestContext>({
    schema,
    graphqlEndpoint: "/graphql",
    graphiql: false,
    landingPage: false,
    batching: false,
    logging: false,
    cors: false,
    maskedErrors: { maskError: (error) => masked(error, log, metrics) as Error },
    plugins: [bounds(metrics)],
  });
}

function bounds(metrics: Metrics): Plugin {
  return {
    onParse({ params }) {
      const length = typeof params.source === "string" ? params.source.length : params.source.body.length;
      if (length > QUERY_CHARS_MAX) {
        throw new QueryTooCostly(`The query has ${length} characters, ${QUERY_CHARS_MAX} are allowed`);
      }
      return ({ result, replaceParseResult }) => {
        if (result instanceof GraphQLError) replaceParseResult(ofQuery(result, metrics));
      };
    },
    onValidate({ addValidationRule }) {
      addValidationRule(limitsRule);
      return ({ result, setResult }) => {
        setResult(result.map((error) => error instanceof GraphQLError ? ofQuery(error, metrics) : error));
      };
    },
  };
}

function masked(error: unknown, log: Logger, metrics: Metrics): GraphQLError {
  if (!(error instanceof GraphQLError)) return inWords(error, log, undefined);
  if (error.originalError !== undefined && !(error.originalError instanceof GraphQLError)) {
    return inWords(error.originalError, log, error);
  }
  return ofQuery(error, metrics);
}

/** What is wrong with the query itself. */
function ofQuery(error: GraphQLError, metrics: Metrics): GraphQLError {
  if (typeof error.extensions.code === "string" && error.extensions.code.startsWith("api.")) return error;
  if (!(error instanceof QueryTooCostly)) {
    return refused(error, "api.query_invalid", "See control/api/README.md for the schema.");
  }
  metrics.limitsMet.inc({ limit: "query" });
  return refused(error, "api.query_too_costly", "Ask for fewer fields or smaller pages.");
}

function inWords(cause: unknown, log: Logger, at: GraphQLError | undefined): GraphQLError {
  const { message, ...extensions } = wireOf(cause, log);
  return new GraphQLError(message, {
    ...(at?.nodes === undefined ? {} : { nodes: at.nodes }),
    ...(at?.path === undefined ? {} : { path: at.path }),
    extensions,
  });
}

/** GraphQL's own words about the query; what it says of the outside comes as GodwitErrors. */
function refused(error: GraphQLError, code: string, hint: string): GraphQLError {
  const { message: _, ...wire } = new GodwitError(code, error.message, { fault: "client", hint }).toWire();
  const http = error.extensions.http;
  return new GraphQLError(error.message, {
    ...(error.nodes === undefined ? {} : { nodes: error.nodes }),
    ...(error.path === undefined ? {} : { path: error.path }),
    extensions: { ...wire, ...(http === undefined ? {} : { http }) },
  });
}
