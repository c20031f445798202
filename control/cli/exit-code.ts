/**
 * Exit codes of `godwit`, for scripts:
 *
 *   0 done · 1 Godwit failed · 2 the command line is wrong, or what was asked for is not allowed as asked ·
 *   3 there is no such app, machine or release · 4 the token is missing, expired or not allowed · 5 the app failed (its
 *   image, its command, its health) · 6 the API cannot be reached · 130 interrupted
 */
import { GodwitError } from "../contract/errors.ts";

export const EXIT = {
  done: 0,
  failed: 1,
  usage: 2,
  notFound: 3,
  unauthorised: 4,
  appFailed: 5,
  unreachable: 6,
  interrupted: 130,
} as const;

export function exitCodeOf(error: unknown): number {
  if (!(error instanceof GodwitError)) return EXIT.failed;
  if (error.code === "cli.unreachable") return EXIT.unreachable;
  if (error.code === "build.aborted") return EXIT.interrupted;
  if (
    error.code === "cli.not_found" || error.code.endsWith("_not_found") || error.code.endsWith(".not_found")
  ) {
    return EXIT.notFound;
  }
  if (error.code === "cli.no_token" || error.code.startsWith("access.")) return EXIT.unauthorised;
  if (error.fault === "app") return EXIT.appFailed;
  return error.fault === "client" ? EXIT.usage : EXIT.failed;
}
