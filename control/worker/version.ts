/** The version of the worker's program, as hosts report it. */
import manifest from "../../package.json" with { type: "json" };

export const VERSION: string = manifest.version;
