/**
 * The handlers of a measured ringq: one that does nothing, and one that tells when it was started.
 */

import { defineHandlers, remote } from "../../src/index.ts";
import { sharedMs } from "../kit/clock.ts";

export default defineHandlers({
  noop: () => undefined,
  probe: () => sharedMs(),
  remote: remote(),
});
