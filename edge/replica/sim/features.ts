/** What the replica under test can do, told by what its status speaks of: faults that it cannot heal are left out. */

export interface Features {
  /** It compares digests, looks at signatures, and builds a new generation where something is wrong. */
  readonly heals: boolean;
}

export function featuresOf(status: object): Features {
  return { heals: Object.keys(status).some((name) => name.includes("digest")) };
}
