import { expect, test } from "bun:test";
import { envOf, PATH_DEFAULT } from "./env.ts";

test("envOf() puts the machine's variables over the image's, the later of two over the earlier", () => {
  const env = envOf(["A=1", "A=2", "B=x=y", "C=image", "PATH=/p", "HOME=/h"], { C: "machine" }, "/root");
  expect(env).toEqual({ A: "2", B: "x=y", C: "machine", PATH: "/p", HOME: "/h" });
});

test("envOf() gives PATH and HOME where nobody names them, or names nothing", () => {
  expect(envOf([], {}, "/home/web")).toEqual({ PATH: PATH_DEFAULT, HOME: "/home/web" });
  expect(envOf(["PATH=", "HOME="], {}, "/root")).toEqual({ PATH: PATH_DEFAULT, HOME: "/root" });
});

test("envOf() passes over entries that set nothing", () => {
  expect(envOf(["ALONE", "=x", "E="], { PATH: "/p", HOME: "/h" }, "/")).toEqual({
    E: "",
    PATH: "/p",
    HOME: "/h",
  });
});
