/**
 * Access control for a server without keys. Any web page can make a browser send requests to a
 * server on the same machine: across sites, or under the page's own name once that name points to
 * the machine (DNS rebinding). Both are refused. This file only decides; each binding words the
 * refusal.
 */

import { isIP } from "node:net";

export interface AccessOptions {
  /** The address on which the server listens. */
  readonly host: string;
  /** Further host names of the server. */
  readonly allowedHosts: readonly string[];
  /** Origins whose pages may use it. */
  readonly corsOrigins: readonly string[];
}

export class Access {
  readonly #own: string;
  readonly #allowed: ReadonlySet<string>;
  readonly #origins: ReadonlySet<string>;
  /** The last allowed Host header. The next request nearly always has the same one. */
  #lastHost: string | undefined;

  constructor({ host, allowedHosts, corsOrigins }: AccessOptions) {
    this.#own = bare(host);
    this.#allowed = new Set(allowedHosts.map(bare));
    this.#origins = new Set(corsOrigins);
  }

  /** Whether any origin is listed. Only then do answers depend on the origin. */
  get hasOrigins(): boolean {
    return this.#origins.size > 0;
  }

  /** Whether this `Host` names the server. A missing header (HTTP/1.0) does not. */
  allowsHost(host: string | null): boolean {
    if (host === this.#lastHost) return true;
    if (host === null || !this.#isKnown(host)) return false;
    this.#lastHost = host;
    return true;
  }

  /** Whether the browser says that a page of another site sent this request. */
  isCrossSite(headers: Headers): boolean {
    const origin = headers.get("origin");
    if (origin !== null && this.#origins.has(origin)) return false;
    const site = headers.get("sec-fetch-site");
    if (site !== null) return site === "cross-site" || site === "same-site";
    if (origin === null) return false;
    const authority = origin.replace(/^https?:\/\//, "");
    const host = headers.get("host") ?? "";
    return authority !== host.toLowerCase() && !this.#allowed.has(hostOf(authority) ?? "");
  }

  /** The origin of this request if it is listed; null otherwise. */
  allowedOrigin(headers: Headers): string | null {
    const origin = headers.get("origin");
    return origin !== null && this.#origins.has(origin) ? origin : null;
  }

  /** DNS rebinding can't use a name without a dot or an address, so these are safe. */
  #isKnown(header: string): boolean {
    const host = hostOf(header);
    if (host === null) return false;
    return (
      isIP(host) !== 0 ||
      /^[^.:]+$/.test(host) ||
      host.endsWith(".localhost") ||
      host === this.#own ||
      this.#allowed.has(host)
    );
  }
}

/** A host with an optional port, as in a Host header. An IPv6 address is in brackets. */
const HOST_AND_PORT = /^(\[[\da-f:.]+\]|[\w.-]+)(?::\d*)?$/i;

/** The host without its port, or null for text that is not a host. */
function hostOf(text: string): string | null {
  const [, host] = HOST_AND_PORT.exec(text) ?? [];
  return host === undefined ? null : bare(host);
}

function bare(host: string): string {
  return host.replace(/^\[|\]$/g, "").toLowerCase();
}
