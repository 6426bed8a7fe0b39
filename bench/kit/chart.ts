/**
 * Draws a chart, as SVG, by vega-lite.
 */

/** A vega-lite specification without what all charts have in common. */
export type ChartSpec = Readonly<Record<string, unknown>>;

const SHARED = {
  $schema: "https://vega.github.io/schema/vega-lite/v6.json",
  background: "white",
  padding: 12,
  config: {
    font: "sans-serif",
    title: { anchor: "start", fontSize: 15, subtitleColor: "#555", subtitlePadding: 6, offset: 12 },
    axis: {
      labelFontSize: 11,
      titleFontSize: 11,
      titleFontWeight: "normal",
      gridColor: "#e8e8e8",
      labelLimit: 260,
    },
    legend: { labelLimit: 260 },
    header: { labelFontSize: 12, labelFontWeight: "bold", title: null },
    view: { stroke: null },
    bar: { color: "#3b6ea5" },
    line: { color: "#3b6ea5" },
  },
};

/** The chart, or null when the library is not installed. */
export async function draw(spec: ChartSpec): Promise<string | null> {
  const libraries = await load();
  if (libraries === null) return null;
  const { vega, vegaLite } = libraries;
  const { spec: compiled } = vegaLite.compile({ ...SHARED, ...spec });
  const view = new vega.View(vega.parse(compiled), { renderer: "none" });
  const svg = await view.toSVG();
  view.finalize();
  return `${svg}\n`;
}

async function load() {
  try {
    return { vega: await import("vega"), vegaLite: await import("vega-lite") };
  } catch (error) {
    if (error instanceof ResolveMessage) return null;
    throw error;
  }
}
