/** What a deploy asks for, checked whole before anything happens, with the contract's own schemas. */
import { z } from "zod";
import { GodwitError } from "../contract/errors.ts";
import {
  Command,
  CPU_COUNTS,
  Guest,
  MachineSettings,
  MEMORY_MB_MAX,
  MEMORY_MB_STEP,
  type Service,
  Services,
} from "../contract/machine.ts";
import { Env } from "../contract/names.ts";
import { ImageRequest } from "../contract/worker-api.ts";
import { validate } from "./validate.ts";

export const WAIT_TIMEOUT_S_DEFAULT = 300;
export const DEPLOY_WAIT_TIMEOUT_S_MAX = 3_600;
/** Arguments come to a process in one block; this is far below Linux's own bound. */
export const COMMAND_BYTES_MAX = 1_048_576;
/** They travel to the edges inside a machine's row, which must fit one event (`EVENT_BYTES_MAX`). */
export const SERVICES_BYTES_MAX = 49_152;

/** As it comes from GraphQL. */
export interface DeployInput {
  readonly app: string;
  readonly image: string;
  readonly guest: { cpu_kind?: string; cpus?: number; memory_mb?: number };
  readonly env: readonly { name: string; value: string }[];
  /** null: as the app's current release, else the default. */
  readonly services: unknown;
  readonly entrypoint: readonly string[] | null;
  readonly command: readonly string[] | null;
  /** null: the defaults. */
  readonly machine: unknown;
  readonly waitTimeoutS: number;
}

export interface DeployWish {
  readonly imageRef: string;
  readonly guest: Guest;
  readonly env: Record<string, string>;
  readonly services: Service[] | null;
  readonly entrypoint: string[] | null;
  readonly command: string[] | null;
  readonly machine: MachineSettings;
  readonly waitTimeoutS: number;
}

/** For an app whose deploys never named services. */
export const SERVICES_DEFAULT: Service[] = Services.parse([
  { protocol: "tcp", internal_port: 8_080, ports: [{ port: 80, handlers: ["http"] }] },
]);

export function readDeployInput(input: DeployInput): DeployWish {
  const services = input.services === null || input.services === undefined
    ? null
    : readServices(input.services);
  return {
    imageRef: validate(
      ImageRequest.shape.ref.regex(/^[\x21-\x7e]+$/, "a reference has no spaces"),
      input.image,
      {
        code: "release.image_invalid",
        what: "image",
        hint: "For example registry.example/app:1 or registry.example/app@sha256:….",
      },
    ),
    guest: validate(Guest, input.guest, {
      code: "release.guest_invalid",
      what: "guest size",
      hint:
        `cpus: ${
          CPU_COUNTS.join(", ")
        }; memory_mb: a multiple of ${MEMORY_MB_STEP} up to ${MEMORY_MB_MAX}; ` +
        "cpu_kind: shared, performance.",
    }),
    env: readEnv(input.env),
    services,
    entrypoint: readArguments(input.entrypoint, "entrypoint"),
    command: readArguments(input.command, "command"),
    machine: validate(MachineSettings, input.machine ?? {}, {
      code: "release.machine_invalid",
      what: "machine settings",
      hint: 'For example {"restart": {"policy": "always"}}; control/contract/machine.ts has all of them.',
      // Files and the env of processes are as secret as the env.
      secret: true,
    }),
    waitTimeoutS: validate(z.number().int().min(1).max(DEPLOY_WAIT_TIMEOUT_S_MAX), input.waitTimeoutS, {
      code: "release.wait_timeout_invalid",
      what: "waitTimeoutS",
      hint: `1 to ${DEPLOY_WAIT_TIMEOUT_S_MAX} seconds.`,
    }),
  };
}

function readEnv(pairs: DeployInput["env"]): Record<string, string> {
  const env: Record<string, string> = Object.create(null);
  for (const { name, value } of pairs) {
    if (name in env) {
      throw new GodwitError(
        "release.env_invalid",
        `Cannot use the env: ${name.slice(0, 80)} is given twice`,
        {
          fault: "client",
          hint: "Give each variable once.",
        },
      );
    }
    env[name] = value;
  }
  return validate(Env, { ...env }, {
    code: "release.env_invalid",
    what: "env",
    hint: "Names are letters, digits and _, not starting with a digit; at most 256 variables of 32 KiB.",
    secret: true,
  });
}

function readServices(value: unknown): Service[] {
  const services = validate(Services, value, {
    code: "release.services_invalid",
    what: "services",
    hint: 'For example [{"internal_port": 8080, "ports": [{"port": 80, "handlers": ["http"]}]}].',
  });
  const bytes = Buffer.byteLength(JSON.stringify(services));
  if (bytes > SERVICES_BYTES_MAX) {
    throw unusable(`they take ${bytes} bytes as JSON`, `At most ${SERVICES_BYTES_MAX} bytes.`);
  }
  const seen = new Set<number>();
  for (const { port, handlers, force_https, http_options } of services.flatMap((service) => service.ports)) {
    if ((force_https || http_options !== undefined) && !handlers.includes("http")) {
      throw unusable(
        `port ${port} has force_https or http_options, which need the handler http`,
        'Add "http" to the port\'s handlers, or leave them out.',
      );
    }
    if (handlers.includes("proxy_proto") && http_options?.h2_backend === true) {
      throw unusable(
        `port ${port} asks for PROXY headers and HTTP/2 to the machine, whose connections carry many clients`,
        "Leave out h2_backend or the handler proxy_proto.",
      );
    }
    if (seen.has(port)) {
      throw unusable(
        `port ${port} is named twice, and a request to it could go two ways`,
        "Name each port in one service only.",
      );
    }
    seen.add(port);
  }
  return services;
}

function unusable(why: string, hint: string): GodwitError {
  return new GodwitError("release.services_invalid", `Cannot use the services: ${why}`, {
    fault: "client",
    hint,
  });
}

function readArguments(value: readonly string[] | null, what: "entrypoint" | "command"): string[] | null {
  if (value === null) return null;
  const bounded = Command.refine(
    (list) => list.reduce((n, argument) => n + argument.length + 1, 0) <= COMMAND_BYTES_MAX,
    `at most ${COMMAND_BYTES_MAX} bytes together`,
  ).refine((list) => list.every((argument) => !argument.includes("\0")), "contains NUL");
  return validate(bounded, [...value], {
    code: what === "entrypoint" ? "release.entrypoint_invalid" : "release.command_invalid",
    what,
    hint: "A list of 1 to 1024 arguments, or none to use the image's.",
    secret: true,
  });
}
