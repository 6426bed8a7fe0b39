/** The engine in memory. It stores nothing, so changes are applied, and may be shown, at once. */

import type { Broker } from "../../core/broker.ts";
import type { Instant } from "../../core/instant.ts";
import type { IdempotencyKey } from "../../core/outcomes.ts";
import type { NewTask } from "../../core/task.ts";
import type { Engine, EnqueueAnswer } from "../engine.ts";
import { BrokerHost, type HostOptions } from "../host/broker-host.ts";
import type { Command } from "../host/commands.ts";
import type { Persistence, StoreRemains } from "../host/persistence.ts";

export function createMemoryEngine(options: HostOptions): Engine {
  return new BrokerHost(options, ({ broker }) => new NoStore(broker));
}

class NoStore implements Persistence {
  readonly isDurable = false;
  readonly isAvailable = true;
  readonly isAhead = false;
  readonly #broker: Broker;

  constructor(broker: Broker) {
    this.#broker = broker;
  }

  enqueue(specs: readonly NewTask[], now: Instant, key: IdempotencyKey | undefined): EnqueueAnswer {
    return this.#broker.enqueue(specs, now, key);
  }

  run<Answer>(command: Command<Answer>, now: Instant): Answer {
    const plan = command(now);
    return plan.kind === "answered" ? plan.answer : plan.take(now);
  }

  noteClaim(): boolean {
    return true;
  }

  noteExtend(): void {
    // Nothing is stored.
  }

  onStep(): void {
    // Nothing is stored.
  }

  onForget(): void {
    // Nothing is stored.
  }

  untilStored(): null {
    return null;
  }

  whenAllStored<T>(read: () => T): T {
    return read();
  }

  flush(): void {
    // Nothing is stored.
  }

  close(): StoreRemains {
    return { isWhole: true };
  }
}
