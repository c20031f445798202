import { expect, test } from "bun:test";
import { argvOf } from "./argv.ts";

const image = (entrypoint: string[], cmd: string[]) => ({
  entrypoint,
  cmd,
  env: [],
  working_dir: "",
  user: "",
  stop_signal: null,
});

test.each([
  ["the image's Entrypoint and Cmd in a row", ["/e", "-x"], ["c"], null, null, ["/e", "-x", "c"]],
  ["Cmd alone where the image has no Entrypoint", [], ["/c", "1"], null, null, ["/c", "1"]],
  ["the machine's command in place of Cmd", ["/e"], ["c"], null, ["d", "1"], ["/e", "d", "1"]],
  ["the machine's entrypoint without the image's Cmd", ["/e"], ["c"], ["/f"], null, ["/f"]],
  ["the machine's entrypoint and command", ["/e"], ["c"], ["/f", "-y"], ["d"], ["/f", "-y", "d"]],
])("argvOf() gives %s", (_, entrypoint, cmd, ownEntrypoint, command, argv) => {
  expect(argvOf({ image: image(entrypoint, cmd), entrypoint: ownEntrypoint, command })).toEqual(argv);
});

test("argvOf() says that there is nothing to run", () => {
  expect(() => argvOf({ image: image([], []), entrypoint: null, command: null })).toThrow(
    "the image has no Entrypoint and no Cmd, and the machine no command",
  );
});
