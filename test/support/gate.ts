/**
 * A meeting point of tests and the handlers in another process: a handler calls a place by HTTP and is held there until
 * the test, which can await the visit, lets it go on.
 */

export interface Visit {
  readonly query: URLSearchParams;
  /** Aborts when the handler hangs up. */
  readonly signal: AbortSignal;
  /** Lets the handler go on. */
  release(): void;
}

export class Gate implements AsyncDisposable {
  readonly #server: Bun.Server<undefined>;
  /** Visits that no test has asked for yet, by place. */
  readonly #visits = new Map<string, Visit[]>();
  /** Tests that wait for a visit, by place. */
  readonly #waiting = new Map<string, ((visit: Visit) => void)[]>();

  constructor() {
    this.#server = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      // A handler may be held for as long as a slow machine needs.
      idleTimeout: 0,
      fetch: ({ url, signal }) => this.#receive(new URL(url), signal),
    });
  }

  get url(): string {
    return `http://127.0.0.1:${this.#server.port}`;
  }

  /** The next visit at this place, which may have come already. */
  visit(place: string): Promise<Visit> {
    const came = this.#visits.get(place)?.shift();
    if (came !== undefined) return Promise.resolve(came);
    return new Promise((resolve) => listAt(this.#waiting, place).push(resolve));
  }

  /** How many came to this place and were not asked for. */
  unseen(place: string): number {
    return this.#visits.get(place)?.length ?? 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.stop(true);
  }

  #receive({ pathname, searchParams: query }: URL, signal: AbortSignal): Promise<Response> {
    const place = pathname.slice(1);
    return new Promise((resolve) => {
      const visit = { query, signal, release: () => resolve(new Response()) };
      const wanted = this.#waiting.get(place)?.shift();
      if (wanted === undefined) listAt(this.#visits, place).push(visit);
      else wanted(visit);
    });
  }
}

function listAt<T>(lists: Map<string, T[]>, place: string): T[] {
  const list = lists.get(place) ?? [];
  lists.set(place, list);
  return list;
}
