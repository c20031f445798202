import { expect, test } from "bun:test";
import { type Fault, GodwitError } from "../contract/errors.ts";
import { EXIT, exitCodeOf } from "./exit-code.ts";

test("exitCodeOf() tells scripts what kind of failure it was", () => {
  const of = (code: string, fault: Fault) => exitCodeOf(new GodwitError(code, "x", { fault }));
  expect(of("cli.unreachable", "us")).toBe(EXIT.unreachable);
  expect(of("build.aborted", "client")).toBe(EXIT.interrupted);
  expect(of("cli.not_found", "client")).toBe(EXIT.notFound);
  expect(of("image.not_found", "client")).toBe(EXIT.notFound);
  expect(of("access.token_expired", "client")).toBe(EXIT.unauthorised);
  expect(of("release.machine_exited", "app")).toBe(EXIT.appFailed);
  expect(of("app.name_taken", "client")).toBe(EXIT.usage);
  expect(of("stack.server_not_ready", "us")).toBe(EXIT.failed);
  expect(exitCodeOf(new TypeError("bug"))).toBe(EXIT.failed);
});
