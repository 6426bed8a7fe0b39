/**
 * Whom a server without keys answers. Every web page can make its visitor's browser send requests to a server on that
 * machine: with another name in `Host` once the page's own name points there (DNS rebinding), or across sites. Neither
 * comes from a client that somebody started for ringq. Decides only: the words are the binding's.
 */

import { isIP } from "node:net";

export interface AccessOptions {
  /** Where the server listens. */
  readonly host: string;
  /** Further hosts that it is known by. */
  readonly allowedHosts: readonly string[];
  /** Origins whose pages may use it. */
  readonly corsOrigins: readonly string[];
}

export class Access {
  readonly #own: string;
  readonly #allowed: ReadonlySet<string>;
  readonly #origins: ReadonlySet<string>;
  /** The last Host header that was allowed: nearly always the next one too. */
  #lastHost: string | undefined;

  constructor({ host, allowedHosts, corsOrigins }: AccessOptions) {
    this.#own = bare(host);
    this.#allowed = new Set(allowedHosts.map(bare));
    this.#origins = new Set(corsOrigins);
  }

  /** Whether any origin may use it: only then do answers depend on the origin. */
  get hasOrigins(): boolean {
    return this.#origins.size > 0;
  }

  /** Whether it is known by this `Host`. Without one (HTTP/1.0) it is not. */
  allowsHost(host: string | null): boolean {
    if (host === this.#lastHost) return true;
    if (host === null || !this.#isKnown(host)) return false;
    this.#lastHost = host;
    return true;
  }

  /** Whether a page from somewhere else sent this, as far as its browser tells. */
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

  /** The origin of this request, if it is one of those whose pages may use the server. */
  allowedOrigin(headers: Headers): string | null {
    const origin = headers.get("origin");
    return origin !== null && this.#origins.has(origin) ? origin : null;
  }

  /** A page can't come to use a host without a dot or an address as its own name, so these are no rebinding. */
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

/** A host with an optional port, as it stands in a Host header; an IPv6 address in brackets. */
const HOST_AND_PORT = /^(\[[\da-f:.]+\]|[\w.-]+)(?::\d*)?$/i;

/** The host without its port, or null for text that is none. */
function hostOf(text: string): string | null {
  const [, host] = HOST_AND_PORT.exec(text) ?? [];
  return host === undefined ? null : bare(host);
}

function bare(host: string): string {
  return host.replace(/^\[|\]$/g, "").toLowerCase();
}
