/** The kernel modules of a guest, in the order in which they depend on each other; ext4 is built in. */

const BUS = {
  mmio: ["virtio_mmio"],
  pci: ["virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci"],
} as const;

export type Bus = keyof typeof BUS;
export const BUSES: readonly Bus[] = ["mmio", "pci"];

/** What stage 0 loads on a machine whose devices are on this bus. */
export function moduleOrder(bus: Bus): readonly string[] {
  const devices = ["virtio_blk", "failover", "net_failover", "virtio_net", "virtio_console"];
  return ["virtio_ring", "virtio", ...BUS[bus], ...devices, "libcrc32c", "erofs", "overlay", "binfmt_misc"];
}

export const MODULES: readonly string[] = [...new Set(BUSES.flatMap(moduleOrder))];
