/** IPv6 forwarding as before Linux 6.17, on a real kernel that is asked to hide its force_forwarding. */
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { newMachineId } from "../../contract/names.ts";
import { Kernel } from "./kernel.ts";
import { Lab } from "./lab.fixture.ts";
import { Network } from "./network.ts";

setDefaultTimeout(60_000);
const lab = new Lab();
afterAll(() => lab.close());

class OldKernel extends Kernel {
  override readSysctl(name: string): Promise<string | null> {
    return name.endsWith("force_forwarding") ? Promise.resolve(null) : super.readSysctl(name);
  }
}

test("network: on a kernel without force_forwarding machines have IPv6, and the host keeps its router", async () => {
  const options = {
    prefix: "gw0a1b2c",
    range4: "172.20.16.0/20",
    range6: "fd12:3456:789a::/48",
    nameservers: [],
    bytesPerS: 125_000_000,
    netns: lab.host,
  };
  const network = new Network(options, new OldKernel(lab.host));
  const value = (name: string) => lab.sysctl(lab.host, `net/ipv6/conf/${name}`);
  expect(["all/forwarding", "up0/accept_ra", "default/accept_ra"].map(value)).toEqual(["0", "1", "1"]);
  await network.prepare();
  expect(["all/forwarding", "up0/accept_ra", "default/accept_ra"].map(value)).toEqual(["1", "2", "2"]);

  const request = { orgId: "", orgNetwork: 1, kind: "veth" as const };
  const one = await network.attach({ ...request, index: 0, machineId: newMachineId() });
  const other = await network.attach({ ...request, index: 1, machineId: newMachineId() });
  const machine = lab.machine(one);
  await lab.serve(lab.machine(other), 8080, "other");
  await lab.serve(lab.internet, 80, "internet");
  expect(lab.get(machine, `http://[${other.address6.split("/")[0]}]:8080/`)).toBe("other");
  expect(lab.get(machine, "http://[2001:db8::1]/")).toBe("internet");

  await network.prepare();
  await network.removeAll();
  expect(["all/forwarding", "up0/accept_ra", "default/accept_ra"].map(value)).toEqual(["0", "1", "1"]);
});
