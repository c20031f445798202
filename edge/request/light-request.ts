/** The little of a Request that Hono's router and the edge's own pages read; a real one would cost more than the relay. */
import { fieldValue } from "../relay/field-cursor.ts";
import type { Exchange } from "./exchange.ts";

export class LightRequest {
  readonly #exchange: Exchange;
  readonly raw = this;
  readonly body = null;

  constructor(exchange: Exchange) {
    this.#exchange = exchange;
  }
  /** HEAD is routed as GET, as Hono itself would do by way of a promise. */
  get method(): string {
    const method = this.#exchange.head.method;
    return method === "HEAD" ? "GET" : method;
  }
  get url(): string {
    return `http://${this.#exchange.head.host}${this.#exchange.head.target}`;
  }
  get headers(): Headers {
    const headers = new Headers();
    for (const name of ["accept", "authorization", "user-agent"]) {
      const value = fieldValue(this.#exchange.head.fields, name);
      if (value !== null) headers.set(name, value);
    }
    return headers;
  }
  /** Where Hono looks: what belongs to apps is one constant path, so that deciding costs one map look-up. */
  get routePath(): string {
    if (!this.#exchange.client.listener.admin) return "/app";
    const target = this.#exchange.head.target;
    const query = target.indexOf("?");
    return `/admin${query === -1 ? target : target.slice(0, query)}`;
  }
}
