import type { Guest } from "../../contract/machine.ts";
import { builder } from "./builder.ts";

export const GuestRef = builder.objectRef<Guest>("Guest").implement({
  description: "Size of a VM.",
  fields: (t) => ({
    cpuKind: t.exposeString("cpu_kind"),
    cpus: t.exposeInt("cpus"),
    memoryMb: t.exposeInt("memory_mb"),
  }),
});
