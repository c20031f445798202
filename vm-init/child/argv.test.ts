import { expect, test } from "bun:test";
import { argvOf, argvOfProcess } from "./argv.ts";

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

test.each([
  ["exec as it stands", { exec: ["/x"], entrypoint: ["/e"], command: ["c"] }, ["/x"]],
  ["its entrypoint without the image's Cmd", { exec: null, entrypoint: ["/e"], command: null }, ["/e"]],
  ["its command behind the machine's entrypoint", { exec: null, entrypoint: null, command: ["c"] }, [
    "/m",
    "c",
  ]],
  ["the machine's wish where it has none", { exec: null, entrypoint: null, command: null }, ["/m", "m"]],
])("argvOfProcess() gives %s", (_, process, argv) => {
  const machine = { image: image(["/i"], ["i"]), entrypoint: ["/m"], command: ["m"] };
  expect(argvOfProcess(machine, process)).toEqual(argv);
});
