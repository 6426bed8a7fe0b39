/**
 * The handlers of a measured ringq: one that does nothing, and one that tells when it was started.
 */

import { defineHandlers } from "../../src/index.ts";

export default defineHandlers({
  noop: () => undefined,
  // Both ends of the measurement add a monotonic clock to the time their process started, so they can be compared.
  probe: () => performance.timeOrigin + performance.now(),
});
