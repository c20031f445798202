/** The little of a Request that Hono's router and the edge's own pages read; a real one would cost more than the relay. */
import { fieldValue } from "../relay/field-cursor.ts";
import { ACME_PATH } from "../tls/acme-answers.ts";
import type { Exchange } from "./exchange.ts";

export class LightRequest {
  readonly #exchange: Exchange;
  readonly #acme: boolean;
  readonly raw = this;
  readonly body = null;

  /** @param acme validations of ACME are under way */
  constructor(exchange: Exchange, acme: boolean) {
    this.#exchange = exchange;
    this.#acme = acme;
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
    const { client: { listener }, head: { target } } = this.#exchange;
    if (!listener.admin && !this.#acme) return "/app";
    const query = target.indexOf("?");
    const path = query === -1 ? target : target.slice(0, query);
    if (listener.admin) return `/admin${path}`;
    const asked = path.startsWith(ACME_PATH) && !listener.tls && this.method === "GET";
    return asked ? `/acme/${path.slice(ACME_PATH.length)}` : "/app";
  }
}
