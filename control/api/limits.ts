/**
 * Bounds on a query, checked before it runs: its length, its depth, and its cost. A field costs one; a connection
 * multiplies what is in it by the size of its page. Fragments are followed, cycles are left to GraphQL's own rules.
 */
import {
  type ASTVisitor,
  type FieldNode,
  type FragmentDefinitionNode,
  GraphQLError,
  Kind,
  type SelectionSetNode,
  type ValidationContext,
} from "graphql";
import { PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX } from "./schema/paging.ts";

/** Bytes of a whole request; env alone may have 8 MiB. */
export const REQUEST_BYTES_MAX = 12_582_912;
export const QUERY_CHARS_MAX = 32_768;
export const QUERY_DEPTH_MAX = 14;
export const QUERY_COST_MAX = 50_000;
/** Selections looked at while measuring, so that nested fragments cannot make the measuring itself costly. */
const selectionsMax = 20_000;

export class QueryTooCostly extends GraphQLError {}

export function limitsRule(context: ValidationContext): ASTVisitor {
  return {
    OperationDefinition(node) {
      const measured = measure(node.selectionSet, (name) => context.getFragment(name) ?? undefined);
      if (measured.depth > QUERY_DEPTH_MAX) {
        context.reportError(
          new QueryTooCostly(`The query is ${measured.depth} deep, ${QUERY_DEPTH_MAX} are allowed`),
        );
      } else if (measured.cost > QUERY_COST_MAX) {
        context.reportError(
          new QueryTooCostly(`The query costs ${measured.cost}, ${QUERY_COST_MAX} are allowed; ask for less`),
        );
      }
    },
  };
}

interface Measure {
  readonly depth: number;
  readonly cost: number;
}

export function measure(
  root: SelectionSetNode,
  fragmentOf: (name: string) => FragmentDefinitionNode | undefined,
): Measure {
  let looked = 0;
  const walk = (set: SelectionSetNode, depth: number, inside: readonly string[]): Measure => {
    let [deepest, cost] = [depth, 0];
    const add = (part: Measure) => [deepest, cost] = [Math.max(deepest, part.depth), cost + part.cost];
    for (const selection of set.selections) {
      if (++looked > selectionsMax) return { depth: deepest, cost: Infinity };
      if (selection.kind === Kind.INLINE_FRAGMENT) add(walk(selection.selectionSet, depth, inside));
      else if (selection.kind === Kind.FRAGMENT_SPREAD) {
        const name = selection.name.value;
        const fragment = inside.includes(name) ? undefined : fragmentOf(name);
        if (fragment !== undefined) add(walk(fragment.selectionSet, depth, [...inside, name]));
      } else if (!selection.name.value.startsWith("__")) add(walkField(selection, depth + 1, inside));
    }
    return { depth: deepest, cost };
  };
  const walkField = (field: FieldNode, depth: number, inside: readonly string[]): Measure => {
    if (field.selectionSet === undefined) return { depth, cost: 1 };
    const within = walk(field.selectionSet, depth, inside);
    return { depth: within.depth, cost: 1 + within.cost * pageSize(field) };
  };
  return walk(root, 0, []);
}

/** How many times what is inside a field is answered. A variable counts as the largest page. */
function pageSize(field: FieldNode): number {
  const isConnection = field.selectionSet?.selections.some((s) =>
    s.kind !== Kind.FIELD || s.name.value === "edges"
  );
  const argument = field.arguments?.find((a) => a.name.value === "first" || a.name.value === "last");
  if (argument === undefined) return isConnection === true ? PAGE_SIZE_DEFAULT : 1;
  if (argument.value.kind !== Kind.INT) return PAGE_SIZE_MAX;
  return Math.min(Math.max(Number(argument.value.value), 1), PAGE_SIZE_MAX);
}
