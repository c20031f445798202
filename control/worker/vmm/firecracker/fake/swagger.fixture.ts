/**
 * Firecracker's own description of its API, where this machine has it: beside the repository, not in it. The types are held
 * against it (api-types.test.ts), and the fake checks every body by it.
 */
import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";

export const SWAGGER_FILE = resolve(
  import.meta.dir,
  "../../../../../../shared/data/firecracker-v1.16.1.yaml",
);
export const SWAGGER_MISSING = `Firecracker's swagger is not at ${SWAGGER_FILE}`;

export interface Schema {
  readonly $ref?: string;
  readonly type?: "object" | "array" | "string" | "integer" | "number" | "boolean";
  readonly properties?: Record<string, Schema>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly enum?: readonly unknown[];
  readonly minimum?: number;
  readonly maximum?: number;
}

interface SwaggerOperation {
  readonly parameters?: readonly { readonly in: string; readonly name: string; readonly schema?: Schema }[];
}

interface SwaggerDocument {
  readonly info: { readonly version: string };
  readonly definitions: Record<string, Schema>;
  readonly paths: Record<string, Record<string, SwaggerOperation>>;
}

export class Swagger {
  readonly version: string;
  readonly #definitions: Record<string, Schema>;
  readonly #paths: Record<string, Record<string, SwaggerOperation>>;

  /** Null where the file is not on this machine. */
  static load(file = SWAGGER_FILE): Swagger | null {
    if (!existsSync(file)) return null;
    return new Swagger(
      Bun.YAML.parse(readFileSync(file, "utf8")) as SwaggerDocument,
    );
  }

  private constructor(document: SwaggerDocument) {
    this.version = document.info.version;
    this.#definitions = document.definitions;
    this.#paths = document.paths;
  }

  definition(name: string): Schema | null {
    return this.#definitions[name] ?? null;
  }

  /** The definition's name of what a request carries; null where there is no such request. */
  bodyOf(method: string, path: string): string | null {
    const parameters = this.#paths[path]?.[method.toLowerCase()]?.parameters ?? [];
    const ref = parameters.find((parameter) => parameter.in === "body")?.schema?.$ref;
    return ref === undefined ? null : nameOf(ref);
  }

  /** The schema itself, or the one that it refers to. */
  resolve(schema: Schema): Schema {
    if (schema.$ref === undefined) return schema;
    const found = this.#definitions[nameOf(schema.$ref)];
    if (found === undefined) throw new Error(`the swagger has no ${schema.$ref}`);
    return found;
  }

  /** What is wrong with a value, in the words that serde would use; null where it is right. */
  fault(name: string, value: unknown): string | null {
    const schema = this.#definitions[name];
    return schema === undefined ? `no definition ${name}` : this.#fault(schema, value, name);
  }

  #fault(given: Schema, value: unknown, where: string): string | null {
    const schema = this.resolve(given);
    if (schema.type === "object" || schema.properties !== undefined) {
      return this.#objectFault(schema, value, where);
    }
    if (schema.type === "array") {
      if (!Array.isArray(value)) return `invalid type: expected a sequence at ${where}`;
      for (const item of value) {
        const fault = this.#fault(schema.items ?? {}, item, `${where}[]`);
        if (fault !== null) return fault;
      }
      return null;
    }
    return scalarFault(schema, value, where);
  }

  #objectFault(schema: Schema, value: unknown, where: string): string | null {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      return `invalid type: expected struct ${where}`;
    }
    const properties = schema.properties ?? {};
    for (const [name, inner] of Object.entries(value)) {
      const property = properties[name];
      if (property === undefined) {
        const known = Object.keys(properties).map((key) => `\`${key}\``).join(", ");
        return `unknown field \`${name}\`, expected one of ${known}`;
      }
      const fault = this.#fault(property, inner, `${where}.${name}`);
      if (fault !== null) return fault;
    }
    const missing = schema.required?.find((name) => !(name in value));
    return missing === undefined ? null : `missing field \`${missing}\``;
  }
}

function scalarFault(schema: Schema, value: unknown, where: string): string | null {
  const typed = schema.type === "integer"
    ? Number.isInteger(value)
    : schema.type === undefined || typeof value === schema.type;
  if (!typed) return `invalid type: expected ${schema.type} at ${where}`;
  if (schema.enum !== undefined && !schema.enum.includes(value)) {
    return `unknown variant \`${String(value)}\`, expected one of ${
      schema.enum.map((variant) => `\`${String(variant)}\``).join(", ")
    }`;
  }
  if (typeof value === "number") {
    if (schema.minimum !== undefined && value < schema.minimum) return `${where} is below ${schema.minimum}`;
    if (schema.maximum !== undefined && value > schema.maximum) return `${where} is above ${schema.maximum}`;
  }
  return null;
}

function nameOf(ref: string): string {
  return ref.slice(ref.lastIndexOf("/") + 1);
}
