import { expect, test } from "bun:test";
import { GuestSysinfo } from "../../control/contract/guest-api.ts";
import { prettyName, sysinfoOf } from "./sysinfo.ts";

test("prettyName() reads each way of quoting", () => {
  expect(prettyName('ID=x\nPRETTY_NAME="Debian GNU/Linux 12"\n')).toBe("Debian GNU/Linux 12");
  expect(prettyName("PRETTY_NAME='Alpine'\n")).toBe("Alpine");
  expect(prettyName("PRETTY_NAME=bare\nID=x")).toBe("bare");
  expect(prettyName("ID=x\n")).toBeNull();
});

test("sysinfoOf() is what the contract says", () => {
  const info = sysinfoOf();
  expect(GuestSysinfo.parse(info)).toEqual(info);
  expect(info.kernel).toMatch(/^\d+\./);
});
