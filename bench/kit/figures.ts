/**
 * Medians, ranges and how they are written. Arithmetic only.
 */

/** A figure measured several times. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export function spreadOf(values: readonly number[]): Spread {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) };
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** The value below which this share of the values lies, between neighbours where it falls between two. */
export function quantile(values: readonly number[], share: number): number {
  if (values.length === 0) throw new RangeError("there is no quantile of nothing");
  const sorted = values.toSorted((a, b) => a - b);
  const at = (sorted.length - 1) * share;
  const below = sorted[Math.floor(at)] ?? 0;
  const above = sorted[Math.ceil(at)] ?? 0;
  return below + (above - below) * (at - Math.floor(at));
}

/** A number for a table: three significant digits, or whole with a separator from a thousand on. */
export function show(value: number): string {
  if (!Number.isFinite(value)) return "–";
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString("en-US");
  return String(Number(value.toPrecision(3)));
}

/** The median, and the range of the rounds behind it. */
export function showSpread({ median: middle, min, max }: Spread): string {
  return `${show(middle)} [${show(min)}, ${show(max)}]`;
}

export function mib(bytes: number): number {
  return bytes / (1024 * 1024);
}
