/**
 * What is used of the packages in bench/package.json. Declared here, so that the types of the benchmarks can be checked
 * without installing them, which only somebody who measures has to do.
 */

declare module "vega" {
  export function parse(spec: object): object;
  export class View {
    constructor(runtime: object, options: { readonly renderer: "none" });
    toSVG(): Promise<string>;
    finalize(): void;
  }
}

declare module "vega-lite" {
  export function compile(spec: object): { readonly spec: object };
}

declare module "flatqueue" {
  class FlatQueue<T> {
    push(item: T, priority: number): void;
    pop(): T | undefined;
    peekValue(): number | undefined;
  }

  export { FlatQueue as default };
}

declare module "tinyqueue" {
  class TinyQueue<T> {
    constructor(data: T[], compare: (a: T, b: T) => number);
    push(item: T): void;
    pop(): T | undefined;
  }

  export { TinyQueue as default };
}

declare module "bullmq" {
  interface Connection {
    readonly host: string;
    readonly port: number;
    readonly maxRetriesPerRequest: null;
  }
  interface TaskOptions {
    readonly attempts: number;
    readonly backoff: { readonly type: "exponential"; readonly delay: number };
    readonly removeOnComplete: number;
  }
  export class Queue {
    constructor(name: string, options: { readonly connection: Connection });
    add(name: string, data: unknown, options: TaskOptions): Promise<{ readonly id?: string }>;
    addBulk(
      tasks: readonly {
        readonly name: string;
        readonly data: unknown;
        readonly opts: Pick<TaskOptions, "removeOnComplete">;
      }[],
    ): Promise<unknown>;
    getWaitingCount(): Promise<number>;
    getActiveCount(): Promise<number>;
  }
  export class Worker {
    constructor(
      name: string,
      work: () => Promise<unknown>,
      options: { readonly connection: Connection; readonly concurrency: number },
    );
    on(event: "error", listener: (error: Error) => void): this;
    waitUntilReady(): Promise<unknown>;
  }
}

declare module "bunqueue/client" {
  interface Connection {
    readonly host: string;
    readonly port: number;
  }
  export class Queue {
    constructor(name: string, options: { readonly connection: Connection });
    addBulk(tasks: readonly { readonly name: string; readonly data: unknown }[]): Promise<unknown>;
  }
  export class Worker {
    constructor(
      name: string,
      work: () => Promise<unknown>,
      options: {
        readonly connection: Connection;
        readonly concurrency: number;
        readonly batchSize: number;
      },
    );
  }
}
