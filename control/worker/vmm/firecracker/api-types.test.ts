/** Every type of request, held against Firecracker's own swagger where this machine has it. */
import { describe, expect, test } from "bun:test";
import { z } from "zod";
import { apiRequest, OPERATIONS } from "./api-types.ts";
import { type Schema, Swagger, SWAGGER_MISSING } from "./fake/swagger.fixture.ts";

const swagger = Swagger.load();
const unlessMissing = swagger === null ? ` (skipped: ${SWAGGER_MISSING})` : "";

/** JSON Schema, as zod writes it. */
interface Ours extends Schema {
  readonly const?: unknown;
  readonly items?: Ours;
  readonly properties?: Record<string, Ours>;
}

/** What of a type of ours Firecracker would refuse, in words. */
function contradictions(given: Schema, ours: Ours, where: string): string[] {
  const theirs = swagger!.resolve(given);
  const found: string[] = [];
  if (theirs.type !== ours.type) found.push(`${where}: ${ours.type} for ${theirs.type}`);
  for (const [name, inner] of Object.entries(ours.properties ?? {})) {
    const property = theirs.properties?.[name];
    if (property === undefined) found.push(`${where}.${name}: unknown`);
    else found.push(...contradictions(property, inner, `${where}.${name}`));
  }
  for (const name of theirs.required ?? []) {
    if (!ours.required?.includes(name)) found.push(`${where}.${name}: required, and not always sent`);
  }
  if (ours.items !== undefined) found.push(...contradictions(theirs.items ?? {}, ours.items, `${where}[]`));
  const variants = ours.const === undefined ? ours.enum ?? [] : [ours.const];
  if (theirs.enum !== undefined) {
    if (variants.length === 0) found.push(`${where}: any value for one of ${theirs.enum.join(", ")}`);
    for (const value of variants) {
      if (!theirs.enum.includes(value)) found.push(`${where}: no variant ${String(value)}`);
    }
  }
  const { minimum = -Infinity, maximum = Infinity } = theirs;
  if ((ours.minimum ?? -Infinity) < minimum) found.push(`${where}: from ${ours.minimum}, not ${minimum}`);
  if ((ours.maximum ?? Infinity) > maximum) found.push(`${where}: to ${ours.maximum}, not ${maximum}`);
  return found;
}

describe.skipIf(swagger === null)(`against Firecracker's swagger${unlessMissing}`, () => {
  test("it is that of the version which the driver asks for", () => {
    expect(swagger!.version).toBe("1.16.1");
  });

  test.each(Object.entries(OPERATIONS))("%s is a request that it takes, field by field", (_, operation) => {
    expect(swagger!.bodyOf(operation.method, operation.path)).toBe(operation.definition);
    const ours = z.toJSONSchema(operation.body, { io: "input" }) as Ours;
    expect(contradictions(swagger!.definition(operation.definition)!, ours, operation.definition)).toEqual(
      [],
    );
  });

  test("a wrong type, field, variant, bound and a missing field would be seen", () => {
    const wrong = z.toJSONSchema(z.strictObject({
      vcpu_count: z.number().int().min(0).max(64),
      smt: z.string(),
      huge_pages: z.enum(["None", "1G"]),
      color: z.string(),
    })) as Ours;
    expect(contradictions(swagger!.definition("MachineConfiguration")!, wrong, "M")).toEqual([
      "M.vcpu_count: from 0, not 1",
      "M.vcpu_count: to 64, not 32",
      "M.smt: string for boolean",
      "M.huge_pages: no variant 1G",
      "M.color: unknown",
      "M.mem_size_mib: required, and not always sent",
    ]);
  });
});

test("apiRequest() puts an id of the body into the path, and refuses what its type does not hold", () => {
  expect(apiRequest("vm", { state: "Paused" })).toEqual({
    method: "PATCH",
    path: "/vm",
    definition: "Vm",
    body: { state: "Paused" },
  });
  const drive = {
    drive_id: "layer",
    path_on_host: "/layer.drive",
    is_root_device: false,
    is_read_only: false,
    cache_type: "Writeback",
    io_engine: "Sync",
  } as const;
  expect(apiRequest("drive", drive).path).toBe("/drives/layer");
  expect(() => apiRequest("drive", { ...drive, drive_id: "../vm" })).toThrow();
});
