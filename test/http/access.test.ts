import { describe, expect, test } from "bun:test";
import { Access } from "../../src/http/access.ts";

function anAccess(options: { readonly host?: string; readonly origins?: readonly string[] } = {}) {
  return new Access({
    host: options.host ?? "127.0.0.1",
    allowedHosts: ["ringq.example", "2001:DB8::7"],
    corsOrigins: options.origins ?? [],
  });
}

describe("a host", () => {
  test.each([
    "127.0.0.1",
    "127.0.0.1:8080",
    "192.168.0.7:80",
    "[::1]",
    "[::1]:8080",
    "[2001:db8::7]:8080",
    "localhost",
    "LocalHost:8080",
    "a.b.localhost:1",
    "my_host-1",
    "ringq.example",
    "Ringq.Example:443",
    "localhost:",
  ])("%s is known", (host) => {
    const access = anAccess();

    expect(access.allowsHost(host)).toBe(true);
    expect(access.allowsHost(host)).toBe(true);
  });

  test.each([
    "evil.example",
    "evil.example:8080",
    "localhost.evil.example",
    "xlocalhost.example",
    "evil.xlocalhost",
    "127.0.0.1.evil.example",
    "127.0.0.1.",
    "ringq.example.evil.example",
    "x.ringq.example",
    "0x7f.1",
    "::1",
    "[evil.example]",
    "localhost:x",
    "localhost:80:80",
    "localhost, evil.example",
    "user@localhost",
    "localhost/x",
    " localhost",
    "localhost\n",
    "",
    null,
  ])("%p is not known", (host) => {
    const access = anAccess();

    expect(access.allowsHost(host)).toBe(false);
    access.allowsHost("localhost");
    expect(access.allowsHost(host)).toBe(false);
  });

  test.each([
    ["ringq.internal", "RINGQ.internal:80"],
    ["::1", "[::1]:80"],
    ["[::1]", "[::1]"],
  ])("that the server listens at, %s, is known", (host, header) => {
    expect(anAccess({ host }).allowsHost(header)).toBe(true);
  });
});

describe("a changing request", () => {
  test.each([
    [{}, false],
    [{ "sec-fetch-site": "none" }, false],
    [{ "sec-fetch-site": "same-origin", origin: "http://evil.example" }, false],
    [{ "sec-fetch-site": "same-site" }, true],
    [{ "sec-fetch-site": "cross-site" }, true],
    [{ "sec-fetch-site": "cross-site", origin: "http://localhost:8080" }, true],
    [{ origin: "http://localhost:8080" }, false],
    [{ origin: "https://localhost:8080" }, false],
    [{ origin: "http://localhost:3000" }, true],
    [{ origin: "http://localhost" }, true],
    [{ origin: "https://ringq.example" }, false],
    [{ origin: "https://ringq.example:8443" }, false],
    [{ origin: "http://[2001:db8::7]:80" }, false],
    [{ origin: "https://evil.example" }, true],
    [{ origin: "https://ringq.example.evil.example" }, true],
    [{ origin: "null" }, true],
    [{ origin: "" }, true],
  ])("with %p is from another site: %p", (headers, isCrossSite) => {
    const sent = new Headers({ host: "LOCALHOST:8080", ...headers });

    expect(anAccess().isCrossSite(sent)).toBe(isCrossSite);
  });

  test("without a host is from another site if it has an origin", () => {
    expect(anAccess().isCrossSite(new Headers({ origin: "http://localhost" }))).toBe(true);
  });

  test("of a listed origin is from nowhere else", () => {
    const access = anAccess({ origins: ["https://app.example"] });
    const sent = (origin: string) => new Headers({ origin, "sec-fetch-site": "cross-site" });

    expect(access.isCrossSite(sent("https://app.example"))).toBe(false);
    expect(access.isCrossSite(sent("http://app.example"))).toBe(true);
    expect(access.isCrossSite(sent("https://app.example:8443"))).toBe(true);
  });
});
