/**
 * The reference by which another worker gets the very image that was resolved: the tag gives way to the digest
 * (OCI distribution-spec, pull by digest). A layout on a worker's own disk has no such form.
 */
export function pinnedReference(ref: string, digest: string): string {
  if (ref.startsWith("oci:") || ref.includes("@")) return ref;
  const slash = ref.lastIndexOf("/");
  const colon = ref.indexOf(":", slash + 1);
  return `${colon === -1 ? ref : ref.slice(0, colon)}@${digest}`;
}
