/**
 * Where a request asks to go: the reference's request fields (section 1.5), or a machine's `fly-replay`. A forced place is
 * the only one; a preferred one is tried first. The fields travel on to the machine, which may want to know why it was
 * chosen; they grant nothing that the app's other users do not have.
 */
import { eachListMember } from "../relay/field-cursor.ts";

/** Region names in one field; those behind are not looked at. */
export const STEERING_REGIONS_MAX = 32;

export interface Steering {
  /** Machine ids. */
  forceInstance: string | null;
  preferInstance: string | null;
  /** Never this machine: a replay's `elsewhere`. */
  avoidInstance: string | null;
  /** Codes or aliases (`region-alias.ts`), most wanted first; null: any. */
  forceRegions: readonly string[] | null;
  preferRegions: readonly string[] | null;
}

export function steering(wanted: Partial<Steering>): Steering {
  return {
    forceInstance: null,
    preferInstance: null,
    avoidInstance: null,
    forceRegions: null,
    preferRegions: null,
    ...wanted,
  };
}

/** @param value of `fly-force-region`, `fly-prefer-region` or a replay's `region`: a comma-separated list */
export function regionList(value: string): string[] {
  const regions: string[] = [];
  eachListMember(value, (region) => {
    if (regions.length < STEERING_REGIONS_MAX && !regions.includes(region)) regions.push(region);
  });
  return regions;
}

/** @param before what an earlier field of the same request said */
export function steeringField(before: Steering | null, name: string, value: string): Steering {
  const all = before ?? steering({});
  switch (name) {
    case "fly-force-instance-id":
      all.forceInstance = value.toLowerCase();
      break;
    case "fly-prefer-instance-id":
      all.preferInstance = value.toLowerCase();
      break;
    case "fly-force-region":
      all.forceRegions = regionList(value);
      break;
    case "fly-prefer-region":
      all.preferRegions = regionList(value);
  }
  return all;
}
