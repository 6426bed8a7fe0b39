/**
 * Translates names and times between the client and the wire: `maxRetries` is `max_retries`, and a
 * Date is an RFC 3339 time. It does not look into the values of users.
 */

/** The fields with a value of a user. */
const OPAQUE: ReadonlySet<string> = new Set(["payload", "progress", "result"]);

/** A value of the client as the wire writes it. */
export function toWire(value: unknown): unknown {
  return translated(value, (name) => name.replace(/[A-Z]/g, (at) => `_${at.toLowerCase()}`), false);
}

/** A value from the wire as the client shows it: every name `at` and `*_at` is a Date or null. */
export function fromWire(value: unknown): unknown {
  return translated(value, (name) => name.replace(/_([a-z])/g, (_, at) => at.toUpperCase()), true);
}

function translated(value: unknown, rename: (name: string) => string, hasTimes: boolean): unknown {
  if (Array.isArray(value)) return value.map((each) => translated(each, rename, hasTimes));
  if (typeof value !== "object" || value === null || value instanceof Date) return value;
  const fields: Record<string, unknown> = {};
  for (const [name, field] of Object.entries(value)) {
    const isTime = hasTimes && /(^|_)at$/.test(name) && typeof field === "string";
    if (isTime) fields[rename(name)] = new Date(field);
    else fields[rename(name)] = OPAQUE.has(name) ? field : translated(field, rename, hasTimes);
  }
  return fields;
}
