/** The forwarding state of one app: for each port that a listener can stand for, the machines behind it. */
import type { AppCounts } from "../request/app-counts.ts";
import type { Backend } from "./backend.ts";
import { Waiters } from "./waiters.ts";

export class ServiceRoute {
  readonly port: number;
  /** Started, uncordoned machines in the edge's own region, and those elsewhere. */
  near: Backend[] = [];
  far: Backend[] = [];
  /** Machines that will be in one of the lists soon. */
  starting = 0;
  readonly waiters = new Waiters();

  constructor(port: number) {
    this.port = port;
  }
}

export class AppRoute {
  readonly id: string;
  /** Null until the app's own row is there. */
  name: string | null = null;
  readonly services = new Map<number, ServiceRoute>();
  /** Null until its first request. */
  counts: AppCounts | null = null;

  constructor(id: string) {
    this.id = id;
  }

  service(port: number): ServiceRoute {
    let service = this.services.get(port);
    if (service === undefined) {
      service = new ServiceRoute(port);
      this.services.set(port, service);
    }
    return service;
  }
}
